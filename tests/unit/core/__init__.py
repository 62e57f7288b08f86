"""The rules of `aristobot.core`."""
