#!/usr/bin/python3
"""What a lane boots from, made of a Debian kernel package:

    boot.py kernel BZIMAGE VMLINUX                       the ELF kernel inside a bzImage
    boot.py initramfs OUT INIT [MODULE_DIR MODULE...]    /init, and modules in the order of loading

The ELF kernel saves the decompression, half a second under emulation. The modules come with all that
they depend on; one that is built in needs no file."""

import glob
import lzma
import os
import struct
import subprocess
import sys

TOOLS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x1f\x8b": "gzip", b"\x02\x21L\x18": "lz4"}


def unpacked(payload):
    """What follows the packed data (its size) is nobody's: decoders stop there, or complain in vain."""
    if payload.startswith(b"\xfd7zX"):
        return lzma.LZMADecompressor(lzma.FORMAT_XZ).decompress(payload)
    tool = next((t for magic, t in TOOLS.items() if payload.startswith(magic)), None)
    if not tool:
        sys.exit(f"kernel payload begins with {payload[:4].hex()}: no known compression")
    return subprocess.run([tool, "-dc"], input=payload, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False).stdout


def kernel(image, out):
    """The payload's place: Documentation/arch/x86/boot.rst, fields setup_sects, payload_offset."""
    with open(image, "rb") as f:
        data = f.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1f1] + 1) * 512 + offset
    elf = unpacked(data[start:start + length])
    if not elf.startswith(b"\x7fELF"):
        sys.exit(f"{image}: no ELF kernel inside")
    with open(out, "wb") as f:
        f.write(elf)


class Modules:
    def __init__(self, folder):
        self.paths = {self.name(p): p for p in glob.glob(f"{folder}/kernel/**/*.ko*", recursive=True)}
        with open(f"{folder}/modules.builtin", encoding="utf-8") as f:
            self.builtin = {self.name(line.strip()) for line in f}
        self.order = {}

    @staticmethod
    def name(path):
        return os.path.basename(path).partition(".ko")[0].replace("-", "_")

    def add(self, name):
        """Appends the module behind everything it depends on (the .modinfo section says what)."""
        if name in self.order or name in self.builtin:
            return
        if name not in self.paths:
            sys.exit(f"module {name}: neither built in nor a file of this kernel")
        with open(self.paths[name], "rb") as f:
            data = f.read()
        if self.paths[name].endswith(".xz"):
            data = lzma.decompress(data)
        for field in data.split(b"\0"):
            if field.startswith(b"depends=") and len(field) > 8:
                for needed in field[8:].decode().split(","):
                    self.add(needed.replace("-", "_"))
        self.order[name] = data


def entries(init, modules):
    """(name, mode, data, device) of the archive."""
    for name in ("proc", "sys", "dev", "modules"):
        yield name, 0o040755, b"", (0, 0)
    yield "dev/console", 0o020600, b"", (5, 1)
    with open(init, "rb") as f:
        yield "init", 0o100755, f.read(), (0, 0)
    for n, data in enumerate(modules):
        yield f"modules/{n}", 0o100644, data, (0, 0)


def initramfs(out, init, folder=None, *wanted):
    """The newc format: Documentation/driver-api/early-userspace/buffer-format.rst."""
    modules = Modules(folder) if folder else None
    for name in wanted:
        modules.add(name)
    with open(out, "wb") as f:
        def put(ino, name, mode, data, device):
            fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
            head = b"070701" + b"".join(b"%08X" % v for v in fields) + name.encode() + b"\0"
            f.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))
        for ino, entry in enumerate(entries(init, modules.order.values() if modules else ()), 1):
            put(ino, *entry)
        put(0, "TRAILER!!!", 0, b"", (0, 0))


if __name__ == "__main__":
    {"kernel": kernel, "initramfs": initramfs}[sys.argv[1]](*sys.argv[2:])
