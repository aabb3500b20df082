"""Checks of libneap.so as it was linked, and of the objects that it was linked from.

    library.py exports|needed|undefined|tls|unwinder LIBNEAP NEAP_H
    library.py system_calls OBJECT...
"""
import pathlib
import re
import subprocess
import sys

MALLOC_FAMILY = """
    malloc calloc realloc reallocarray free cfree posix_memalign aligned_alloc memalign valloc pvalloc
    free_sized free_aligned_sized malloc_usable_size malloc_trim mallopt mallinfo mallinfo2 malloc_info malloc_stats
    vfork __vfork
    __libc_malloc __libc_calloc __libc_realloc __libc_free __libc_memalign __libc_valloc __libc_pvalloc
""".split()
NEW_AND_DELETE = [
    f"_Z{verb}{kind}"
    for verbs, kinds in (
        (("nwm", "nam"), ("", "RKSt9nothrow_t", "St11align_val_t", "St11align_val_tRKSt9nothrow_t")),
        (("dlPv", "daPv"), ("", "m", "RKSt9nothrow_t", "St11align_val_t", "St11align_val_tRKSt9nothrow_t",
                            "mSt11align_val_t")),
    )
    for verb in verbs for kind in kinds
]
MOST_TLS = 256  # of about 1.7 KB that the loader keeps for libraries opened late

# Calls into the kernel, and what stands for them in libc. Only os_linux.cc may make them: all else has to run on the
# fake system of the tests.
SYSTEM_CALLS = re.compile(
    r"(syscall|(sys_)?futex|m(re|un)?map|mmap64|m(advise|protect|bind|incore|sync|lock|unlock)|membarrier|brk|sbrk|prctl"
    r"|(open|openat|creat|stat|fstat|lstat|pread|pwrite|lseek|ftruncate)(64)?|read|write|writev|close|fcntl|ioctl|unlink"
    r"|shm_open|memfd_create|eventfd|poll|ppoll|select|epoll_\w+|pipe2?|sched_\w+|getcpu|gettid|getpid|get(e)?[ug]id"
    r"|clock_\w+|gettimeofday|time|nanosleep|usleep|sleep|getrandom|getrusage|getrlimit|sysconf|getauxval"
    r"|pthread_create|pthread_sigmask|sigprocmask|kill|tgkill|raise|abort|_exit|_Exit|exit|(secure_)?getenv"
    r"|__(open|read|pread64|poll)(64)?_(2|chk))")


def lines(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def names(library, *which):
    return {line.split()[-1] for line in lines("nm", "-D", *which, library) if line.split()}


def check_exports(library, header):
    declared = set(re.findall(r"\bNEAP_EXPORT\b[^;(]*?\b(neap_\w+)\s*\(", pathlib.Path(header).read_text()))
    expected = set(MALLOC_FAMILY) | set(NEW_AND_DELETE) | declared
    found = names(library, "--defined-only")
    yield from (f"exported, and should not be: {name}" for name in sorted(found - expected))
    yield from (f"not exported: {name}" for name in sorted(expected - found))


def check_needed(library, _):
    dynamic = "\n".join(lines("readelf", "-dW", library))
    for name in re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic):
        if not re.fullmatch(r"libc\.so\.6|ld-linux.*\.so\.\d", name):
            yield f"needs {name}"
    yield from (f"has {tag}" for tag in ("RPATH", "RUNPATH", "TEXTREL") if f"({tag})" in dynamic)
    flags = " ".join(re.findall(r"\(FLAGS(?:_1)?\)(.*)", dynamic)).split()
    yield from (f"lacks -z {flag.lower()}" for flag in ("NOW", "NODELETE") if flag not in flags)


def check_undefined(library, _):
    for line in lines("nm", "-D", "--undefined-only", library):
        kind, name = line.split()[-2:]
        if kind == "U" and "@GLIBC_" not in name:
            yield f"undefined and not of libc: {name}"
        if re.match(r"_Z(n[wa]|d[la])", name):
            yield f"leans on libstdc++ for {name}"


def check_tls(library, _):
    segments = [line.split() for line in lines("readelf", "-lW", library) if line.split()[:1] == ["TLS"]]
    size = sum(int(segment[5], 16) for segment in segments)
    if size >= MOST_TLS:
        yield f"static TLS of {size} bytes, not under {MOST_TLS}"
    if any("__tls_get_addr" in name for name in names(library, "--undefined-only")):
        yield "thread-local storage that the loader would allocate (__tls_get_addr)"


def check_unwinder(library, _):
    for line in lines("nm", library):
        *_, kind, name = line.split()
        if kind in "TtWwVv" and kind != "w" and re.match(r"_Unwind_|__(de)?register_frame|__cxa_throw|__gxx_pers", name):
            yield f"brings its own {name}: a throw must go on using the program's unwinder"


def check_system_calls(*objects):
    for item in objects:
        for line in lines("nm", "--undefined-only", item):
            name = line.split()[-1]
            if SYSTEM_CALLS.fullmatch(name):
                yield f"{pathlib.Path(item).name}: calls {name}"
        # `syscall`, or `svc` on aarch64, written by hand; vfork is one and cannot be called through another function
        if pathlib.Path(item).name.startswith("vfork_"):
            continue
        for line in lines("objdump", "-d", "--no-show-raw-insn", item):
            if re.search(r"\t(syscall|svc)\b", line):
                yield f"{pathlib.Path(item).name}: system call instruction at {line.strip()}"


def main():
    found = list(globals()["check_" + sys.argv[1]](*sys.argv[2:]))
    print("\n".join(found) or "clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
