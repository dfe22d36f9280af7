"""Runs one program where it can do no harm. sandbox.py starts this file as a script: it imports only the standard
library, and nothing imports it.

There are three processes: the guard, which waits and ends what takes too long; the first process of the program's own
namespaces, which nothing inside can kill and whose end ends everything; and the program. docs/code-answers.md explains
what each means contains. If a requested means does not work, that is an OSError, and the program is not run.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import math
import os
import resource
import select
import signal
import struct
import sys
import types
from typing import Any, NoReturn

# Exit statuses of a program that raised an exception, or MemoryError. sandbox.py knows them.
RAISED, STARVED = 70, 71
LINUX = sys.platform == "linux"
LIBC = ctypes.CDLL(None, use_errno=True)
NAMESPACES = 0x00020000 | 0x20000000 | 0x40000000 | 0x08000000 | 0x04000000  # mounts, PIDs, network, IPC, host name
NEW_USER = 0x10000000
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC, REMOUNT, BIND, ALL_BELOW, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
PR_DEATH, PR_DUMPABLE, PR_SECCOMP, PR_NO_NEW_PRIVILEGES, PR_REAPER = 1, 4, 22, 38, 36
Job = dict[str, Any]


def call(name: str, *arguments: Any) -> int:
    """Call a function of libc. Raises OSError."""
    result = int(getattr(LIBC, name)(*arguments))
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def needed() -> list[str]:
    """Return the paths that a Python without site-packages reads: its library, and those of the system."""
    library = os.path.dirname(os.__file__)
    paths = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", library, "/etc/ld.so.cache"]
    there = [path for path in paths if os.path.exists(path)]
    return [path for path in there if not any(path.startswith(other + "/") for other in there)]


# Namespaces: a root of its own with read-only libraries, four devices and a folder in memory


def separate() -> None:
    """Create new namespaces. Other users than root also get a user namespace, in which they are the only user."""
    if not LINUX:
        raise OSError(errno.ENOSYS, "namespaces are Linux's")
    uid, gid = os.getuid(), os.getgid()
    call("unshare", NAMESPACES | (NEW_USER if uid else 0))
    if uid:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [value.encode() if value is not None else None for value in (source, target, kind)]
    call("mount", *encoded, ctypes.c_ulong(flags), options.encode() if options else None)


def bind(path: str, root: str) -> None:
    """Mount a path read-only at the same place below the new root."""
    target = root + path
    os.makedirs(target if os.path.isdir(path) else os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(path):
        os.close(os.open(target, os.O_CREAT, 0o444))
    mount(path, target, None, BIND | ALL_BELOW)
    # A remount must repeat the flags that the mount has.
    had = os.statvfs(target).f_flag
    times = sum(new for old, new in ((0x400, 1024), (0x800, 2048), (0x1000, 1 << 21)) if had & old)
    device = path.startswith("/dev/")
    flags = had & (READ_ONLY | NO_SUID | NO_DEV | NO_EXEC) | times | NO_SUID | (0 if device else NO_DEV | READ_ONLY)
    mount("none", target, None, BIND | REMOUNT | flags)


def enclose(folder: str, size: int, owner: int) -> None:
    """Create a file system for this process and its children. What is written is in memory and ends with them.

    folder: becomes the root
    size: bytes that may be written
    owner: user id
    """
    mount("none", "/", None, ALL_BELOW | PRIVATE)
    mount("tmpfs", folder, "tmpfs", NO_SUID, "size=1m,nr_inodes=512,mode=755")
    for path in (*needed(), *(device for device in DEVICES if os.path.exists(device))):
        bind(path, folder)
    os.mkdir(folder + "/tmp")
    mount("tmpfs", folder + "/tmp", "tmpfs", NO_SUID | NO_DEV, f"size={size},nr_inodes=4096,mode=700,uid={owner}")
    mount("none", folder, None, BIND | REMOUNT | READ_ONLY | NO_SUID)
    os.chdir(folder)
    call("pivot_root", b".", b".")
    call("umount2", b".", 2)  # of the old root, lazily
    os.chdir("/tmp")


# Landlock: limits what may be opened, where there are no namespaces

LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446


def landlock(folder: str) -> None:
    """Allow reading the libraries and writing the folder, and nothing else; if the kernel can, no TCP and no signals.

    Source: Documentation/userspace-api/landlock.rst.
    """
    if not LINUX:
        raise OSError(errno.ENOSYS, "Landlock is Linux's")
    version = call("syscall", LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    files = (1 << (13 + (version >= 2) + (version >= 3) + (version >= 5))) - 1
    size = 8 + 8 * (version >= 4) + 8 * (version >= 6)
    rules = struct.pack("=QQQ", files, 3, 3)[:size]
    ruleset = call("syscall", LANDLOCK_CREATE, rules, ctypes.c_size_t(size), 0)
    read_file, read_folder, write_file = 1 << 2, 1 << 3, 1 << 1
    allowed = [(folder, files), *((device, read_file | write_file) for device in DEVICES)]
    allowed += [(path, read_file | (read_folder if os.path.isdir(path) else 0)) for path in needed()]
    for path, access in allowed:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        call("syscall", LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", access, handle), 0)
        os.close(handle)
    call("syscall", LANDLOCK_RESTRICT, ruleset, 0)
    os.close(ruleset)


# seccomp: no processes, no programs, no sockets, no signals, and no rarely used parts of the kernel

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
DENIED = {  # name: number on x86_64, on aarch64
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "kcmp": (312, 272),
    "socket": (41, 198), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "personality": (135, 92), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224),
    "fanotify_init": (300, 262), "acct": (163, 89), "quotactl": (179, 60), "setpriority": (141, 140),
    "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
}  # fmt: skip
CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)
THREAD = 0x10000
LOAD, EQUAL, AT_LEAST, ANY_OF, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000


def build_filter() -> list[tuple[int, int, int, int]]:
    """Return the BPF program: (operation, jump if true, jump if false, operand). Raises OSError. Source: seccomp(2)."""
    machine = os.uname().machine
    if not LINUX or machine not in MACHINES:
        raise OSError(errno.ENOSYS, f"no filter of system calls for {machine}")
    architecture, column = MACHINES[machine]
    no, unknown = (RETURN, 0, 0, ERROR | errno.EPERM), (RETURN, 0, 0, ERROR | errno.ENOSYS)
    yes = (RETURN, 0, 0, ALLOW)
    program = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    program += [(AT_LEAST, 0, 1, 0x40000000), no]  # x86's second set of numbers
    for numbers in DENIED.values():
        number = numbers[column]
        program += [] if number is None else [(EQUAL, 0, 1, number), no]
    program += [(EQUAL, 0, 1, CLONE3[column]), unknown]  # its flags are out of a filter's sight; libc then takes clone
    program += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, 16), (ANY_OF, 0, 1, THREAD), yes, no]
    return [*program, (EQUAL, 0, 4, PRLIMIT[column]), (LOAD, 0, 0, 16), (EQUAL, 0, 1, 0), yes, no, yes]


def seccomp() -> None:
    """Apply the filter of system calls to this process and its children."""
    program = build_filter()
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    call("prctl", PR_SECCOMP, 2, struct.pack("@HP", len(program), ctypes.addressof(code)), 0, 0)


# The program


def limit(job: Job) -> None:
    """Set the hard limits of the process. Those that the system does not know or has set lower are skipped."""
    seconds = math.ceil(job["seconds"]) + 1
    values = {"CPU": seconds, "AS": job["memory"], "FSIZE": job["file"], "NOFILE": 64, "CORE": 0}
    for name, value in {**values, "NPROC": job["processes"]}.items():
        with contextlib.suppress(ValueError, OSError, AttributeError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def disarm(job: Job) -> None:
    """Remove all privileges for good, and apply the means that confine the process."""
    if LINUX:
        call("prctl", PR_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if job["user"]:
        os.setgroups([])
        os.setresgid(job["user"], job["user"], job["user"])
        os.setresuid(job["user"], job["user"], job["user"])
    if LINUX:
        call("capset", struct.pack("=Ii", 0x20080522, 0), bytes(24))
        call("prctl", PR_DUMPABLE, 0, 0, 0, 0)
        call("prctl", PR_DEATH, signal.SIGKILL, 0, 0, 0)  # after the change of user, which would undo it
    if "landlock" in job["means"]:
        landlock(job["folder"])
    if "seccomp" in job["means"]:
        seccomp()


def prepare(job: Job, nothing: int) -> None:
    """Close everything that the program must not have, and confine the process.

    nothing: file descriptor of /dev/null
    """
    os.dup2(nothing, 0)
    keep = sorted({job["token"], job["proof"], job["report"]})
    for low, high in zip([2, *keep], [*keep, 65536], strict=True):
        os.closerange(low + 1, high)
    os.environ.clear()
    os.environ.update(HOME=os.getcwd(), TMPDIR=os.getcwd())
    limit(job)
    disarm(job)


def execute(program: str, token: int, proof: int) -> NoReturn:
    """Run the program to its end, and only then copy the token from one pipe to the other to prove it.

    Never returns, whatever functions the program replaces.
    """
    answer = types.ModuleType("answer")
    sys.modules["answer"] = answer
    leave, read, write, status = os._exit, os.read, os.write, RAISED
    try:
        exec(compile(program, "answer.py", "exec"), answer.__dict__)
        write(proof, read(token, 64))
        status = 0
        sys.stdout.flush()
    except BaseException as exc:
        status = status and (STARVED if isinstance(exc, MemoryError) else RAISED)
        sys.stdout.flush()
        write(2, f"{type(exc).__name__}: {exc}".rstrip(": ")[:2000].encode(errors="replace"))
    finally:
        leave(status)


# The processes that wait


def report(job: Job, **fields: Any) -> None:
    """Send a line of the report."""
    os.write(job["report"], json.dumps(fields).encode() + b"\n")


def run_first_process(job: Job, nothing: int) -> NoReturn:
    """Run the first process of the namespace: start the program, wait for its orphans, and end with it."""
    if LINUX:
        call("prctl", PR_DEATH, signal.SIGKILL, 0, 0, 0)
    os.setsid()
    child = os.fork()
    if not child:
        try:
            prepare(job, nothing)
        except OSError as exc:
            report(job, refused=str(exc))
            os._exit(1)
        os.close(job["report"])
        execute(job["program"], job["token"], job["proof"])
    ended, status = os.wait()
    while ended != child:
        ended, status = os.wait()
    report(job, status=os.waitstatus_to_exitcode(status))
    os._exit(0)


def descendants(root: int) -> set[int]:
    """Return the ids of all descendants of a process. Only on Linux."""
    parents: dict[int, int] = {}
    for name in filter(str.isdigit, os.listdir("/proc") if LINUX else []):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
            parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
    family = {root}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return family - {root}


def count_processes() -> int:
    """Count the processes and threads of this user. Only on Linux."""
    count = 0
    for name in filter(str.isdigit, os.listdir("/proc") if LINUX else []):
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{name}").st_uid == os.getuid():
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def kill_descendants() -> None:
    """Kill all descendants of the guard. They are stopped first, so that they cannot start others meanwhile."""
    while True:
        stopped: set[int] = set()
        while new := descendants(os.getpid()) - stopped:
            send_signal(new, signal.SIGSTOP)
            stopped |= new
        send_signal(stopped, signal.SIGKILL)
        try:
            while os.waitpid(-1, 0 if stopped else os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def send_signal(pids: set[int], number: int) -> None:
    """Send a signal to processes that may be gone already."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def read_job() -> Job:
    """Read the job: the first line of standard input. When the input ends later, this process must end too."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1 << 16)
        if not part:
            os._exit(1)
        line += part
    return dict(json.loads(line))


def confine(job: Job) -> None:
    """Prepare the guard, and create the namespaces that the job asks for. Raises OSError."""
    if LINUX:
        call("prctl", PR_REAPER, 1, 0, 0, 0)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # killed first if memory runs short
    apart = "namespaces" in job["means"]
    job["user"] = 60000 + os.getpid() % 1000 if apart and not os.getuid() else 0
    if not job["user"]:
        job["processes"] += count_processes()  # the limit is on everything the user runs
    if apart:
        separate()
        enclose(job["folder"], job["file"], job["user"] or os.getuid())


def main() -> None:
    """Run the guard."""
    job = read_job()
    nothing = os.open("/dev/null", os.O_RDWR)
    ended, alive = os.pipe()
    try:
        confine(job)
    except OSError as exc:
        report(job, refused=str(exc))
        return
    child = os.fork()
    if not child:
        os.close(ended)
        run_first_process(job, nothing)
    for handle in (alive, job["token"], job["proof"]):
        os.close(handle)
    ready = select.select([ended, 0], [], [], job["seconds"])[0]
    if ended not in ready:
        report(job, late=not ready)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if "namespaces" not in job["means"]:
        kill_descendants()


if __name__ == "__main__":
    main()
