#!/usr/bin/python3
"""What is on the wire, on disk or in memory that outlives a program only grows: every field, value
and method of ipc/proto, and every number of the enums in HEADERS, stays what tests/lint/wire.txt says
it is. What is new passes; --update records it (and never rewrites what stands there)."""

import os
import re
import subprocess
import sys
import tempfile

import lint

RECORD = "tests/lint/wire.txt"
PROTOS = "ipc/proto"
HEADERS = {  # whose enums: a supervisor, its init and its files may be of different releases
    "ipc/verbs.h": ("verb_id", "held_kind", "container_socket", "launch_outcome"),
    "ipc/record.h": ("record_type", "record_flags"),
    "ipc/shared.h": ("exit_kind", "exit_flags", "exit_raw", "spawn_step", "run_state"),
    "ipc/plan.h": ("plan_flags",),
    "ipc/settings.h": ("settings_flags", "log_full"),
    "ipc/policy.h": ("restart_kind", "restart_mode", "oom_policy", "budget_action",
                     "policy_action", "policy_reason"),
    "ipc/history.h": ("life_state",),
}
COUNTS = {"SOCKETS", "HELD_KINDS", "RAW_COUNT", "LIFE_STATES"}  # these are to grow


def descriptors(root, protos):
    from google.protobuf import descriptor_pb2
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"--proto_path={os.path.join(root, PROTOS)}",
                        f"--descriptor_set_out={out.name}",
                        *(os.path.join(root, p) for p in protos)], check=True)
        return descriptor_pb2.FileDescriptorSet.FromString(out.read()).file


def of_message(prefix, m):
    name = f"{prefix}.{m.name}"
    for f in m.field:
        kind = f.type_name.lstrip(".") or f.Type.Name(f.type)[5:].lower()
        if f.label == f.LABEL_REPEATED:
            kind = "repeated " + kind
        if f.proto3_optional:
            kind = "optional " + kind
        elif f.HasField("oneof_index"):
            kind = f"oneof {m.oneof_decl[f.oneof_index].name} {kind}"
        yield f"field {name}.{f.name}", f"{f.number} {kind}"
    for inner in m.nested_type:
        yield from of_message(name, inner)
    for inner in m.enum_type:
        yield from of_enum(name, inner)


def of_enum(prefix, e):
    for v in e.value:
        yield f"value {prefix}.{e.name}.{v.name}", str(v.number)


def of_proto(file):
    for m in file.message_type:
        yield from of_message(file.package, m)
    for e in file.enum_type:
        yield from of_enum(file.package, e)
    for s in file.service:
        for m in s.method:
            yield (f"method {file.package}.{s.name}.{m.name}",
                   f"{'stream ' * m.client_streaming}{m.input_type.lstrip('.')} -> "
                   f"{'stream ' * m.server_streaming}{m.output_type.lstrip('.')}")


def of_header(source, enums):
    for name in enums:
        m = re.search(r"\benum\s+%s\s*\{(.*?)\}" % name, lint.code(source), re.S)
        value = -1
        for item in (m.group(1).split(",") if m else ()):
            key, _, given = (part.strip() for part in item.partition("="))
            if not key:
                continue
            # C integer constants: 1, 0x10, 1u << 3
            value = eval(re.sub(r"(?<=[0-9a-fA-F])[uUlL]+", "", given), {}) if given else value + 1
            if key not in COUNTS:
                yield f"number {name}.{key}", str(value)


def current(root):
    """{(path, what): how} of everything."""
    found = {}
    protos = lint.files(root, ".proto", under=("ipc",))
    for file in descriptors(root, protos) if protos else ():
        for what, how in of_proto(file):
            found[f"{PROTOS}/{file.name}", what] = how
    for path, enums in HEADERS.items():
        if os.path.exists(os.path.join(root, path)):
            for what, how in of_header(lint.text(root, path), enums):
                found[path, what] = how
    return found


def recorded(root):
    found = {}
    for line in lint.text(root, RECORD).splitlines():
        if line and not line.startswith("#"):
            place, _, how = line.partition(" = ")
            path, _, what = place.partition(": ")
            found[path, what] = how
    return found


def check(root):
    now, findings = current(root), []
    for (path, what), how in recorded(root).items():
        is_now = now.get((path, what), "gone")
        if is_now != how:
            findings.append(f"{path}: {what} is {is_now}, was {how}: others speak it already (add a "
                            "new one beside it)")
    return findings


def update(root):
    both = {**current(root), **recorded(root)}
    with open(os.path.join(root, RECORD), "w", encoding="utf-8") as f:
        f.write("# What only grows: tests/lint/wire.py. Made by its --update.\n")
        f.writelines(f"{path}: {what} = {how}\n" for (path, what), how in sorted(both.items()))


HEAD = 'syntax = "proto3";\npackage %s;\n'
BAD = {
    "+" + RECORD: "".join(f"{line}\n" for line in (
        "ipc/proto/gone.proto: field gone.A.x = 1 uint32",
        "ipc/proto/renumbered.proto: field renumbered.A.x = 1 uint32",
        "ipc/proto/type.proto: field type.A.x = 1 uint32",
        "ipc/proto/reused.proto: field reused.A.x = 1 uint32",
        "ipc/proto/many.proto: field many.A.x = 1 uint32",
        "ipc/proto/method.proto: method method.S.M = method.A -> method.A",
        "ipc/proto/stream.proto: method stream.S.M = stream.A -> stream.A",
        "ipc/proto/value.proto: value value.E.ONE = 1",
        "ipc/verbs.h: number verb_id.CLIENT_STOP = 601",
        "ipc/record.h: number record_type.RECORD_STARTED = 2",
        "ipc/settings.h: number settings_flags.SETTINGS_TTY = 1",
    )),
    "ipc/proto/gone.proto": HEAD % "gone" + "message A { uint32 y = 2; }\n",
    "ipc/proto/renumbered.proto": HEAD % "renumbered" + "message A { uint32 x = 2; }\n",
    "ipc/proto/type.proto": HEAD % "type" + "message A { uint64 x = 1; }\n",
    "ipc/proto/reused.proto": HEAD % "reused" + "message A { uint32 y = 1; }\n",
    "ipc/proto/many.proto": HEAD % "many" + "message A { repeated uint32 x = 1; }\n",
    "ipc/proto/method.proto": HEAD % "method" + "message A {}\nservice S {}\n",
    "ipc/proto/stream.proto": HEAD % "stream" +
        "message A {}\nservice S { rpc M(A) returns (stream A); }\n",
    "ipc/proto/value.proto": HEAD % "value" + "enum E { ZERO = 0; ONE = 2; }\n",
    "ipc/verbs.h": "enum verb_id { CLIENT_START = 600, CLIENT_NEW, CLIENT_STOP };\n",
    "ipc/record.h": "enum record_type { RECORD_CREATED = 1, /* x */ RECORD_NEW, RECORD_STARTED };\n",
    "ipc/settings.h": "enum settings_flags { SETTINGS_TTY = 1u << 1 };\n",
}
GOOD = {
    RECORD: "# a comment\nipc/proto/a.proto: field a.A.x = 1 optional uint32\n"
            "ipc/proto/a.proto: method a.S.M = a.A -> stream a.A\n"
            "ipc/record.h: number record_type.RECORD_CREATED = 1\n",
    "ipc/proto/a.proto": HEAD % "a" + "message A { optional uint32 x = 1; uint32 y = 2; }\n"
                         "service S { rpc M(A) returns (stream A); rpc N(A) returns (A); }\n",
    "ipc/record.h": "enum record_type { RECORD_CREATED = 1, RECORD_MORE };\n",
}

if __name__ == "__main__":
    if "--update" in sys.argv[1:]:
        update(lint.ROOT)
        sys.exit(0)
    lint.main(check, BAD, GOOD)
