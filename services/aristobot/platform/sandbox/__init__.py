"""Sealing a process that runs a stranger's code: no network, no files but Python's, no processes.

`seal` is called by the process itself, after a fork and while it has a single thread; there is no
way back from it. `availability` says what this operating system offers. Works without root, and as
root gives root up. What is sealed and how its code gets in is `aristobot.runner`'s.
"""
