"""Registries: classes by name, ours and the user's."""

from collections.abc import Callable, Iterator
from typing import Any

from gml.errors import ConfigError, unknown


class Registry:
    """Classes of one kind; `@REGISTRY.register_module()` adds one. No common base class is demanded."""

    def __init__(self, kind: str):
        """Starts empty; `kind` names it in messages."""
        self.kind = kind
        self._classes: dict[str, type] = {}

    def register_module(self, *, name: str | None = None, alias: str | None = None) -> Callable[[type], type]:
        """Returns a decorator that registers a class under its name (or `name`) and `alias`; the last one wins."""

        def register(cls: type) -> type:
            self._classes[name or cls.__name__] = cls
            if alias:
                self._classes[alias] = cls
            return cls

        return register

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def __iter__(self) -> Iterator[str]:
        return iter(self._classes)

    def get(self, name: str, *, path: str = "") -> type:
        """Returns a class by name.

        Raises:
            ConfigError: there is none; `path` says where the name came from.
        """
        if name not in self._classes:
            raise ConfigError(f"{path or self.kind}: {unknown(self.kind, name, self._classes)}")
        return self._classes[name]

    def build(self, type_name: str, *args: Any, path: str = "", **settings: Any) -> Any:
        """Makes an object of a registered class.

        Raises:
            ConfigError: unknown name, or the class does not take these settings.
        """
        cls = self.get(type_name, path=path)
        try:
            return cls(*args, **settings)
        except (TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"{path or self.kind}: {type_name}: {error}") from error
