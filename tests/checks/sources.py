"""Checks of the source tree: include layers, file length, format, and that no source is left out of the build.

    sources.py layers|length|format ROOT
    sources.py compiled ROOT BUILD-FOLDER
"""
import json
import pathlib
import re
import subprocess
import sys

SUFFIXES = (".cc", ".h", ".c", ".S")
SCRIPTS = (".py", ".sh", ".cmake", "CMakeLists.txt")
MOST_LINES = 600

# What a folder may include, as patterns of paths from the root. Dependencies point one way:
# tools, bench, tests -> engine -> alloc/neap.h -> alloc, and interpose -> alloc.
LAYERS = {
    "alloc": [r"alloc/.*"],
    "interpose": [r"interpose/.*", r"alloc/.*"],
    "engine": [r"engine/.*", r"alloc/neap\.h"],
    "python": [r"python/.*", r"engine/.*", r"alloc/neap\.h"],
    "tools": [r"tools/.*", r"engine/.*", r"alloc/.*", r"interpose/.*"],
    "bench": [r"bench/.*", r"engine/.*", r"alloc/.*", r"interpose/.*"],
    "tests": [r".*"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def tracked(root, suffixes=SUFFIXES):
    """Files of the tree that git tracks or would track, so that no build folder is looked at."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name.endswith(suffixes)]
    return [path for path in (pathlib.Path(root, name) for name in sorted(set(names))) if path.is_file()]


def included(root, path):
    """The files of the tree that `path` includes, as paths from the root; others' headers are left out."""
    for name in INCLUDE.findall(path.read_text()):
        for base in (root, path.parent):
            target = (base / name).resolve()
            if target.is_file() and target.is_relative_to(root):
                yield target.relative_to(root).as_posix()
                break
        else:
            if "/" in name and name.split("/")[0] in LAYERS:
                yield name


def check_layers(root):
    graph = {}
    for path in tracked(root):
        name = path.relative_to(root).as_posix()
        graph[name] = list(included(root, path))
        allowed = LAYERS.get(name.split("/")[0])
        if allowed is None:
            yield f"{name}: in no layer"
            continue
        for target in graph[name]:
            if not any(re.fullmatch(pattern, target) for pattern in allowed):
                yield f"{name}: includes {target}, which its layer may not see"
    yield from cycles(graph)


def cycles(graph):
    done, path = set(), []

    def visit(name):
        if name in path:
            yield "include cycle: " + " -> ".join(path[path.index(name):] + [name])
            return
        if name in done:
            return
        path.append(name)
        for target in graph.get(name, ()):
            yield from visit(target)
        path.pop()
        done.add(name)

    for name in graph:
        yield from visit(name)


def check_length(root):
    for path in tracked(root, SUFFIXES + SCRIPTS) + [path for path in tracked(root, "") if "." not in path.name]:
        lines = path.read_text().count("\n")
        if lines > MOST_LINES:
            yield f"{path.relative_to(root)}: {lines} lines, more than {MOST_LINES}"


def check_format(root):
    files = tracked(root, (".cc", ".h", ".c"))
    run = subprocess.run(["clang-format-14", "--dry-run", "-Werror", *files], capture_output=True, text=True)
    yield from sorted(set(re.findall(r"^(\S+?:\d+):\d+: error:.*", run.stderr, re.M)))
    if run.returncode and not run.stderr:
        yield "clang-format-14 failed"


def check_compiled(root, build):
    """A source that no target names is dead code, or a test that never runs. What this build leaves out, being for
    another (a sanitizer, a folder that is not asked for), has to be named by its own folder."""
    commands = json.loads(pathlib.Path(build, "compile_commands.json").read_text())
    compiled = {pathlib.Path(command["directory"], command["file"]).resolve() for command in commands}
    for path in tracked(root, (".cc", ".c")):
        if path not in compiled and not path.is_relative_to(root / "tests/install/consumer") and not named(path):
            yield f"{path.relative_to(root)}: in no target"


def named(source):
    listed = source.parent / "CMakeLists.txt"
    text = re.sub(r"#.*", "", listed.read_text()) if listed.is_file() else ""
    return re.search(rf"(?<![\w.]){re.escape(source.name)}(?![\w.])", text) is not None


def main():
    root = pathlib.Path(sys.argv[2]).resolve()
    checks = {"layers": check_layers, "length": check_length, "format": check_format, "compiled": check_compiled}
    found = list(checks[sys.argv[1]](root, *sys.argv[3:]))
    print("\n".join(found) or "clean")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
