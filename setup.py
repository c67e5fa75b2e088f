"""Packages, ranges of what we depend on, and commands. Exact versions for `make` live in constraints.txt."""

from setuptools import find_packages, setup

ENGINE = ["mujoco>=3.3"]
SEARCH = ["optuna>=5.0,<6", "cmaes>=0.12", "filelock>=3.13", "optuna-dashboard>=0.20", "scipy>=1.11"]
DATA = ["minari[hdf5]>=0.5"]
DEV = [
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    "ruff>=0.9",
    "mypy>=1.13",
    "ribs>=0.8",
    "stable-baselines3>=2.6",
    "types-PyYAML",
    "types-psutil",
]

setup(
    name="robogrammar-map-elites",
    version="0.1.0",
    description="Robots evolve from a graph grammar with MAP-Elites while one PPO policy learns to drive them all",
    license="MIT",
    python_requires=">=3.11,<3.12",
    packages=find_packages(
        include=["robogrammar_env*", "shared_ppo*", "map_elites*", "gml*", "pavi*", "tools*"],
    ),
    py_modules=["map_elites_trainer"],
    include_package_data=True,
    package_data={"robogrammar_env": ["grammars/*.dot"]},
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "gymnasium>=1.1",
        "pybullet>=3.2.6",
        "networkx>=3.2",
        "tensorboard>=2.17",
        "psutil>=5.9",
        "setproctitle>=1.3",
        "matplotlib>=3.8",
        "PyYAML>=6",
        "tqdm>=4.66",
        "pillow>=10",
        "imageio>=2.34",
        "imageio-ffmpeg>=0.5",
    ],
    extras_require={
        "mujoco": ENGINE,
        "search": SEARCH,
        "data": DATA,
        "ray": ["ray>=2.40"],
        "dev": DEV,
        "all": ENGINE + SEARCH + DATA,
    },
    entry_points={
        "console_scripts": [
            "search-init=gml.cli:search_init",
            "search-run=gml.cli:search_run",
            "search-ctl=gml.cli:search_ctl",
        ],
    },
)
