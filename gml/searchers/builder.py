"""The registry of searchers."""

from gml.registry import Registry

SEARCHERS = Registry("searcher")
