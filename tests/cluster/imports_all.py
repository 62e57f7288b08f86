"""Imports every module of ours, and with them whatever they need. Runs inside pods."""

import importlib
import pkgutil

import aristobot
import aristobot_operator

for package in (aristobot, aristobot_operator):
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        # Neither is a module: one is the command, the others are scripts that Alembic runs.
        if not found.name.endswith(".__main__") and ".migrations." not in found.name:
            importlib.import_module(found.name)
