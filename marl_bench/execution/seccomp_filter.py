"""The filter of system calls, made with libseccomp: what programs of a benchmark never need and escapes do."""

import errno
import os
import socket
import tempfile

_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag that clone takes

_FORBIDDEN = (
    # other processes' memory, and tracing
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "move_pages",
    "migrate_pages",
    "kcmp",
    "pidfd_getfd",
    "perf_event_open",
    "userfaultfd",
    # mounts, roots, namespaces
    "mount",
    "umount2",
    "umount",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "open_tree",
    "move_mount",
    "mount_setattr",
    # the kernel itself
    "bpf",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "swapon",
    "swapoff",
    "acct",
    "syslog",
    "quotactl",
    "iopl",
    "ioperm",
    "modify_ldt",
    "lookup_dcookie",
    "nfsservctl",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    # keys, handles, watches beyond the folder
    "add_key",
    "request_key",
    "keyctl",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    # memory and queues that no limit counts, or that outlive their program
    "memfd_create",
    "memfd_secret",
    "shmget",
    "shmat",
    "shmctl",
    "msgget",
    "msgsnd",
    "semget",
    "semctl",
    "mq_open",
    "mq_unlink",
    # interfaces that go round a filter
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "io_setup",
    "personality",
)
# Calls that act on another process of the same user, which the helper is, unless the argument at this place is 0: oneself.
_ON_ONESELF = {
    "prlimit64": 0,
    "sched_setaffinity": 0,
    "sched_setscheduler": 0,
    "sched_setparam": 0,
    "sched_setattr": 0,
    "setpriority": 1,
    "ioprio_set": 1,
}
_SIGNALS = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal")
_SHARED_ANONYMOUS = 0x21  # MAP_SHARED | MAP_ANONYMOUS
_BUFFER_SIZES = (7, 8, 32, 33)  # SO_SNDBUF, SO_RCVBUF, and both with FORCE
_SIGNALLING_SOCKETS = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP
_SIGNALLING_FILES = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX


def filter_instructions(*, signals: bool) -> bytes | None:
    """Returns the filter in the kernel's form, or None where libseccomp is missing.

    Args:
        signals: Whether programs may send signals; without a PID namespace they would reach this user's other processes.
    """
    if not hasattr(os, "pidfd_open"):
        return None
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):  # it raises RuntimeError where the library is not found
        return None
    refuse = pyseccomp.ERRNO(errno.EPERM)
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    wanted: list[tuple[str, list[object]]] = [(name, []) for name in _FORBIDDEN]
    wanted += [(name, [pyseccomp.Arg(place, pyseccomp.NE, 0)]) for name, place in _ON_ONESELF.items()]
    wanted += [
        ("setpriority", [pyseccomp.Arg(0, pyseccomp.NE, os.PRIO_PROCESS)])
    ]  # else 0 is a whole group, or the whole user
    wanted += [("ioprio_set", [pyseccomp.Arg(0, pyseccomp.NE, 1)])]
    # Memory that no count of a process's own shows: shared without a file, and in the buffers of sockets.
    wanted += [("mmap", [pyseccomp.Arg(3, pyseccomp.MASKED_EQ, _SHARED_ANONYMOUS, _SHARED_ANONYMOUS)])]
    wanted += [("setsockopt", [pyseccomp.Arg(2, pyseccomp.MASKED_EQ, 0xFFFFFFFF, option)]) for option in _BUFFER_SIZES]
    wanted += [("socket", [pyseccomp.Arg(0, pyseccomp.NE, socket.AF_UNIX)])]
    if not signals:
        wanted += [(name, []) for name in _SIGNALS]
        # Files can be told to signal any process; the command is the lower half of its register.
        wanted += [
            ("fcntl", [pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, command)]) for command in _SIGNALLING_FILES
        ]
    if not signals:
        wanted += [
            ("ioctl", [pyseccomp.Arg(1, pyseccomp.MASKED_EQ, 0xFFFFFFFF, command)]) for command in _SIGNALLING_SOCKETS
        ]
    for name, arguments in wanted:
        try:
            rules.add_rule(refuse, name, *arguments)
        except (ValueError, OSError):
            continue  # not a call of this architecture, or younger than this library
    for bit in (1 << place for place in range(32) if _NAMESPACES >> place & 1):
        rules.add_rule(refuse, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, bit, bit))
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # its flags cannot be read; the C library then uses clone
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
