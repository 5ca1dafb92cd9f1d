"""Where things stand in the file system that a program sees."""

FOLDER = "/tmp"
"""The one folder that programs may write to; also their home and where they start."""

PACKAGES = "/packages"
"""Where programs find the packages that they may import."""

SYSTEM_PATHS = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/alternatives",
)
DEVICES = ("/dev/null", "/dev/full", "/dev/random", "/dev/urandom")
LINKS = {
    "/dev/fd": "/proc/self/fd",
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
    "/dev/shm": FOLDER,
    "/var/tmp": FOLDER,
}
