"""A real terminal: a tmux server of its own, seen as whoever sits in front of it sees it."""

import os
import shlex
import subprocess

from rig import TOOL, Late, alive, eventually


class Terminal:
    """Its shell's prompt begins with "prompt>"."""

    def __init__(self, hf, rows=24, columns=100, shell="PS1='prompt> ' sh -i", env=None):
        self.socket = os.path.join(hf.base, "tmux")
        kept = {k: v for k, v in hf.env().items() if k != "NO_COLOR"}
        env = {**kept, "TERM": "xterm", "LC_ALL": "C.UTF-8", **(env or {})}
        env["PATH"] = os.path.dirname(TOOL) + ":" + env["PATH"]
        env.pop("TMUX", None)
        self.env = env
        self("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), shell)
        self.pid = int(self("display-message", "-p", "#{pid}"))

    def __enter__(self):
        try:  # what is typed before would stand in a line without it
            self.wait(lambda s: s[0].startswith("prompt>"), "the shell's prompt")
        except Late:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], env=self.env,
                       capture_output=True, check=False)
        eventually(lambda: not alive(self.pid), what="tmux to end")

    def __call__(self, *args):
        return subprocess.run(["tmux", "-u", "-S", self.socket, *args], env=self.env, check=True,
                              capture_output=True, text=True).stdout

    def type(self, *keys):
        self("send-keys", *keys)

    def line(self, *words):
        self("send-keys", "-l", shlex.join(words) if len(words) > 1 else words[0])
        self("send-keys", "Enter")

    def screen(self):
        return self("capture-pane", "-p").split("\n")

    def attributes(self):
        """The screen with its escape sequences."""
        return self("capture-pane", "-pe")

    def resize(self, rows, columns):
        self("resize-window", "-x", str(columns), "-y", str(rows))

    def flag(self, name):
        """alternate_on, cursor_flag, ..."""
        return self("display-message", "-p", f"#{{{name}}}").strip()

    def wait(self, condition, what=None):
        """Until condition(lines) is true: what it gave."""
        try:
            return eventually(lambda: condition(self.screen()), 15, what or "the screen")
        except Late as e:
            raise Late("\n".join([str(e), *self.screen()])) from None
