"""Which files a Python process needs after its start: modules imported late, and what they load.

For Landlock. Only folders of the interpreter and of installed packages are named, and the system's
libraries, time zones and the linker's cache: never a home, the working folder, `/etc` or `/proc`.
"""

from __future__ import annotations

import os
import site
import sysconfig
import zoneinfo

_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")


def readable_paths() -> tuple[str, ...]:
    """Absolute paths, each once. Call it before sealing: it looks at the file system."""
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")]
    installed += [sysconfig.get_path("platlib"), sysconfig.get_config_var("LIBDIR")]
    wanted = [*installed, *site.getsitepackages(), *zoneinfo.TZPATH, *_SYSTEM_LIBRARIES]
    real = (os.path.realpath(path) for path in wanted if path)
    # A folder as wide as the whole system would be no wall.
    return tuple(dict.fromkeys(path for path in real if path not in {"/", "/usr", "/root"}))
