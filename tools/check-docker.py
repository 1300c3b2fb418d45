#!/usr/bin/env python3
"""Checks the docker files against the repository, without docker.

    tools/check-docker.py [--root DIR] [-- ENVOY-ARGUMENT...]

The arguments after -- are the ones that the tests start Envoy with; the
image's CMD must be the same. Prints what was checked, one line each; the exit
status is 1 when something does not fit. Python's standard library only.
"""

import argparse
import json
import posixpath
import re
import sys
from pathlib import Path

DOCKERFILE = "deploy/docker/Dockerfile"
COMPOSE = "deploy/docker/compose.yaml"
# Absolute files that the Envoy image has.
IN_THE_IMAGE = {
    "/etc/ssl/certs/ca-certificates.crt",
    "/dev/stdout",
    "/dev/stderr",
    "/dev/null",
}

faults = 0


def check(good, what, fault=""):
    """One line of the report; a fault says what is wrong."""
    global faults
    if good:
        print(f"ok    {what}")
    else:
        faults += 1
        print(f"FAULT {what}" + (f": {fault}" if fault else ""))
    return good


# --- .dockerignore ----------------------------------------------------------


def ignore_rules(text):
    rules = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        keep = line.startswith("!")
        pattern = posixpath.normpath(line.lstrip("!").strip().lstrip("/"))
        regex = ""
        for part in re.findall(r"\*\*/?|\*|\?|[^*?]+", pattern):
            regex += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
                part, re.escape(part)
            )
        rules.append((keep, re.compile(regex + r"\Z")))
    return rules


def ignored(path, rules):
    """The last rule that matches the path or a folder above it decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:i]) for i in range(1, len(parts) + 1)]
    result = False
    for keep, regex in rules:
        if any(regex.match(prefix) for prefix in prefixes):
            result = not keep
    return result


# --- Dockerfile -------------------------------------------------------------


class Stage:
    def __init__(self, image, name):
        self.image, self.name = image, name
        self.workdir, self.user, self.cmd = "/", None, None
        self.runs, self.ports = [], set()
        self.files = {}  # path in the image -> where it comes from


def parse_dockerfile(text):
    """The stages, with each COPY as (sources, destination, from-stage)."""
    lines = [l for l in text.splitlines() if not l.lstrip().startswith("#")]
    stages = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not word:
            continue
        if word == "FROM":
            match = re.fullmatch(r"(\S+)(?:\s+AS\s+(\S+))?", rest, re.I)
            stages.append((Stage(match[1], match[2]), []))
            continue
        stage, copies = stages[-1]
        if word == "WORKDIR":
            stage.workdir = posixpath.join(stage.workdir, rest)
        elif word == "COPY":
            words = rest.split()
            flags = [w for w in words if w.startswith("--")]
            paths = [w for w in words if not w.startswith("--")]
            source = next((f[7:] for f in flags if f.startswith("--from=")), None)
            copies.append((paths[:-1], paths[-1], source, stage.workdir))
        elif word == "RUN":
            stage.runs.append(rest)
        elif word == "USER":
            stage.user = rest
        elif word == "EXPOSE":
            stage.ports |= set(rest.split())
        elif word == "CMD":
            stage.cmd = rest
        else:
            check(False, f"{DOCKERFILE}: {word}", "this check does not know the instruction")
    return stages


def pinned(image):
    name, _, tag = image.rpartition(":")
    return bool(name) and re.match(r"v?\d+\.\d+\.\d+", tag) is not None


def check_copies(root, stages, rules):
    by_name = {}
    for stage, copies in stages:
        check(pinned(stage.image), f"{DOCKERFILE}: {stage.image} is pinned to a version")
        for sources, destination, source_stage, workdir in copies:
            for source in sources:
                is_folder = False
                if source_stage is None:
                    path = root / source
                    is_folder = path.is_dir()
                    if not check(path.exists(), f"COPY {source}: is in the repository"):
                        continue
                    files = [p for p in path.rglob("*") if p.is_file()] if is_folder else [path]
                    names = [p.relative_to(root).as_posix() for p in files]
                    lost = [n for n in names if ignored(n, rules)]
                    check(
                        names and not lost,
                        f"COPY {source}: .dockerignore lets all of it pass, {len(names)} files",
                        f"left out: {lost[:5]}" if lost else "the folder is empty",
                    )
                else:
                    maker = by_name.get(source_stage)
                    made = maker is not None and any(source in run for run in maker.runs)
                    check(made, f"COPY {source}: is made by stage {source_stage}")
                # COPY of a folder copies what is in it.
                to = posixpath.normpath(posixpath.join(workdir, destination))
                if not is_folder and (destination.endswith("/") or len(sources) > 1):
                    to = posixpath.join(to, posixpath.basename(source))
                stage.files[to] = source
        if stage.name:
            by_name[stage.name] = stage


def check_layout(root, stage):
    """The final image's working directory mirrors the repository's root."""
    for to, source in stage.files.items():
        inside = posixpath.relpath(to, stage.workdir)
        check(
            inside == source.lstrip("/"),
            f"{to} is {source} of the repository's layout",
            f"it is {inside} in the working directory",
        )

    def in_image(path):
        """Whether a path that Envoy would open is in the image."""
        to = posixpath.normpath(posixpath.join(stage.workdir, path))
        for copied, source in stage.files.items():
            if to == copied:
                return True
            if to.startswith(copied + "/"):
                return (root / source / posixpath.relpath(to, copied)).exists()
        return False

    return in_image


def check_command(stage, expected, in_image):
    try:
        cmd = json.loads(stage.cmd or "")
    except ValueError:
        check(False, f"CMD {stage.cmd}", "it must have the form of a JSON list")
        return
    if expected:
        check(cmd == expected, f"CMD is the tests' command line: {' '.join(expected)}", f"CMD {cmd}")
    else:
        print("      CMD not compared: no arguments were given after --")
    for flag, value in zip(cmd, cmd[1:]):
        if flag in ("-c", "--config-path"):
            check(in_image(value), f"CMD {flag} {value}: is in the image")


def check_config(root, stage, in_image):
    """Files and ports that the copied Envoy configuration names."""
    ports = set()
    texts = {}
    for source in stage.files.values():
        path = root / source.lstrip("/")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".yaml", ".json") and file.is_file():
                texts[file.relative_to(root).as_posix()] = file.read_text()
    for name, text in texts.items():
        pattern = r"""["']?\b(filename|path)["']?:\s*["']?([^"'\s,}\]]+)"""
        for key, value in sorted(set(re.findall(pattern, text))):
            # `path` is a word of access logs (%REQ(:PATH)%) and of routes too.
            if "%" in value or key == "path" and re.match(r"/(?!etc/|dev/|usr/|var/|tmp/)", value):
                continue
            if value.startswith("/"):
                check(value in IN_THE_IMAGE, f"{name}: {value} is a file of the Envoy image")
            else:
                check(in_image(value), f"{name}: {value} is in the image")
        pattern = r"""address["']?:\s*["']?([\w.:]+)["']?\s*,?\s*["']?port_value["']?:\s*(\d+)"""
        addresses = re.findall(pattern, text)
        ports |= {port for address, port in addresses if address in ("0.0.0.0", "::")}
    for port in sorted(stage.ports):
        check(port in ports, f"EXPOSE {port}: the configuration listens on 0.0.0.0:{port}")


# --- compose.yaml -----------------------------------------------------------


def scalar(text):
    if text.startswith('"'):
        return json.loads(text)
    return text.strip("'")


def parse_yaml(text):
    """The part of YAML that the compose file uses: mappings, lists of scalars,
    folded blocks; comments on lines of their own."""
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append((number, len(line) - len(line.lstrip()), line.strip()))

    def block(indent):
        result = None
        while lines and lines[0][1] == indent:
            number, _, line = lines.pop(0)
            if line.startswith("- "):
                result = [] if result is None else result
                value = line[2:].strip()
                if value == ">-":
                    folded = []
                    while lines and lines[0][1] > indent:
                        folded.append(lines.pop(0)[2])
                    value = " ".join(folded)
                result.append(scalar(value))
                continue
            match = re.fullmatch(r"([\w.-]+):(?:\s+(.+))?", line)
            if not match or re.match(r"[\[{&*|>]", match[2] or ""):
                sys.exit(f"{COMPOSE}:{number}: this check does not understand the line: {line}")
            result = {} if result is None else result
            if match[2]:
                result[match[1]] = scalar(match[2])
            else:
                result[match[1]] = block(lines[0][1]) if lines and lines[0][1] > indent else None
        return result

    result = block(0)
    if lines:
        sys.exit(f"{COMPOSE}:{lines[0][0]}: this check does not understand the indentation")
    return result


def check_compose(root, stage):
    compose = parse_yaml((root / COMPOSE).read_text())
    here = (root / COMPOSE).parent
    for name, service in compose["services"].items():
        label = f"compose, {name}"
        build = service.get("build")
        if build:
            context = (here / build["context"]).resolve()
            check(context == root, f"{label}: the build context is the repository's root")
            check(
                (context / build["dockerfile"]) == root / DOCKERFILE,
                f"{label}: builds {DOCKERFILE}",
            )
            check("command" not in service, f"{label}: runs the image's CMD")
            published = set()
            for port in service.get("ports", []):
                address, _, inner = port.rpartition(":")
                published.add(inner)
                check(address.startswith("127.0.0.1:"), f"{label}: {port} is published on loopback only")
            check(published == stage.ports, f"{label}: publishes what the image exposes")
        else:
            check(pinned(service["image"]), f"{label}: {service['image']} is pinned to a version")
        for mount in service.get("volumes") or []:
            source, target = mount.split(":")[:2]
            check((here / source).exists(), f"{label}: mount {source} exists")
            check(
                any(target == f or f.startswith(target + "/") for f in stage.files),
                f"{label}: mount {target} is a path of the image",
            )
        check(service.get("read_only") == "true", f"{label}: read-only file system")
        check(service.get("cap_drop") == ["ALL"], f"{label}: no capabilities")
        check(
            service.get("security_opt") == ["no-new-privileges:true"],
            f"{label}: no new privileges",
        )
        for other in service.get("depends_on") or {}:
            known = compose["services"].get(other)
            check(known and "healthcheck" in known, f"{label}: waits for {other}, which has a health check")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("expected", nargs="*", metavar="ENVOY-ARGUMENT")
    arguments = parser.parse_args()
    root = arguments.root.resolve()

    rules = ignore_rules((root / ".dockerignore").read_text())
    stages = parse_dockerfile((root / DOCKERFILE).read_text())
    check_copies(root, stages, rules)
    final = stages[-1][0]
    in_image = check_layout(root, final)
    check_command(final, arguments.expected, in_image)
    check_config(root, final, in_image)
    user = (final.user or "root").partition(":")[0]
    check(user not in ("root", "0"), f"the image's user is not root: {user}")
    check_compose(root, final)

    print(f"{faults} faults" if faults else "no faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
