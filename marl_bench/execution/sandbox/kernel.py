"""Linux calls that Python's standard library lacks, as functions that raise OSError."""

import ctypes
import os
import stat
from collections.abc import Iterable

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
_SECCOMP_MODE_FILTER = 2
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_AT_RECURSIVE, _AT_FDCWD = 0x8000, -100
_CAPABILITY_VERSION_3 = 0x20080522

_SYS_LANDLOCK_CREATE_RULESET, _SYS_LANDLOCK_ADD_RULE, _SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
_LANDLOCK_VERSION, _LANDLOCK_RULE_PATH_BENEATH = 1, 1
_LANDLOCK_EXECUTE, _LANDLOCK_WRITE_FILE, _LANDLOCK_READ_FILE, _LANDLOCK_READ_DIR = 1, 2, 4, 8
_LANDLOCK_REFER, _LANDLOCK_TRUNCATE = 1 << 13, 1 << 14
_LANDLOCK_CHANGES = 0x1FF2  # writing, removing and making files, folders, links, sockets and devices
_LANDLOCK_TCP, _LANDLOCK_SCOPES = 3, 3  # bind and connect; abstract sockets and signals

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd")]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _checked(name: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Gives this process namespaces of its own; the PID namespace begins with its next child."""
    _checked("unshare", _libc.unshare(flags))


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, options: str = "") -> None:
    """Mounts."""
    encoded = kind.encode() if kind else None
    result = _libc.mount(source.encode(), target.encode(), encoded, ctypes.c_ulong(flags), options.encode())
    _checked(f"mount {target}", result)


def make_read_only(target: str) -> None:
    """Makes a mount and all below it read-only, without set-user-id; needs Linux 5.12."""
    attributes = _MountAttributes(MS_RDONLY | MS_NOSUID, 0, 0, 0)
    result = _libc.syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        target.encode(),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    _checked(f"mount_setattr {target}", result)


def pivot_root(new_root: str, put_old: str) -> None:
    """Makes `new_root` the root, and the old root appear at `put_old`."""
    _checked("pivot_root", _libc.pivot_root(new_root.encode(), put_old.encode()))


def detach(target: str) -> None:
    """Unmounts a tree, whoever still uses it."""
    _checked(f"umount {target}", _libc.umount2(target.encode(), MNT_DETACH))


def drop_capabilities() -> None:
    """Gives up every capability, also for programs that this process may start."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break  # past the last one, or not allowed, which the empty sets below make harmless
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked("capset", _libc.capset(header, (ctypes.c_uint32 * 6)()))


def no_new_privileges() -> None:
    """Makes set-user-id programs start without their privileges, for good."""
    _checked("no_new_privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def set_dumpable(on: bool) -> None:
    """Says whether others of the same user may trace this process and read its memory."""
    _checked("dumpable", _libc.prctl(_PR_SET_DUMPABLE, int(on), 0, 0, 0))


def die_with_parent(signal_number: int) -> None:
    """Asks for a signal when the parent ends; any change of user or capabilities forgets it."""
    _checked("pdeathsig", _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0))


def adopt_orphans() -> None:
    """Makes orphans below this process its children."""
    _checked("subreaper", _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def install_seccomp(instructions: bytes) -> None:
    """Installs a filter of system calls, in the kernel's own form, 8 bytes an instruction; needs no_new_privileges."""
    program = _FilterProgram(len(instructions) // 8, instructions)
    _checked("seccomp", _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0))


class _LandlockRules(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("handled_access_fs", "handled_access_net", "scoped")]


class _LandlockPath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def confine_files(folder: str, readable: Iterable[str], devices: Iterable[str]) -> None:
    """Confines this process with Landlock: it changes files in `folder` alone, reads those below `readable` too, and uses some devices.

    Folders can be listed everywhere. Newer kernels also forbid it TCP, and signals to processes that are not confined with it. Needs
    no_new_privileges. Raises OSError.
    """
    version = _checked("landlock", _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION))
    newer = (_LANDLOCK_REFER if version >= 2 else 0) | (_LANDLOCK_TRUNCATE if version >= 3 else 0)
    reads = _LANDLOCK_EXECUTE | _LANDLOCK_READ_FILE | _LANDLOCK_READ_DIR
    everything = _LANDLOCK_CHANGES | newer | reads
    rules = _LandlockRules(everything, _LANDLOCK_TCP, _LANDLOCK_SCOPES)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _checked("landlock", _libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, ctypes.byref(rules), size, 0))
    uses = (_LANDLOCK_READ_FILE | _LANDLOCK_WRITE_FILE | _LANDLOCK_TRUNCATE) & everything
    try:
        for paths, access in (([folder], everything), (readable, reads), (devices, uses), (["/"], _LANDLOCK_READ_DIR)):
            for path in paths:
                _allow_beneath(ruleset, path, access)
        _checked("landlock", _libc.syscall(_SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow_beneath(ruleset: int, path: str, access: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= _LANDLOCK_EXECUTE | _LANDLOCK_WRITE_FILE | _LANDLOCK_READ_FILE | _LANDLOCK_TRUNCATE
        rule = _LandlockPath(access, place)
        result = _libc.syscall(_SYS_LANDLOCK_ADD_RULE, ruleset, _LANDLOCK_RULE_PATH_BENEATH, ctypes.byref(rule), 0)
        _checked(f"landlock {path}", result)
    finally:
        os.close(place)


def missing_namespaces(flags: Iterable[tuple[str, int]]) -> dict[str, str]:
    """Returns the namespaces that cannot be had, each with the reason; tried one by one in children."""
    missing = {}
    for name, flag in flags:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                unshare(flag if os.geteuid() == 0 else flag | CLONE_NEWUSER)
            except OSError as error:
                os.write(write_end, os.strerror(error.errno or 0).encode())
            os._exit(0)
        os.close(write_end)
        with open(read_end, "rb") as stream:
            reason = stream.read().decode()
        os.waitpid(child, 0)
        if reason:
            missing[name] = reason
    return missing
