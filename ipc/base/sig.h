/* Signals by name, as docker, kill(1) and systemd write them. */
#pragma once

/* "SIGTERM", "TERM", "term", "15", "RTMIN+3" -> number; -EINVAL for anything else. */
int sig_parse(const char *text);

/* 15 -> "SIGTERM"; a static string, "SIG?" for numbers that have no name here. */
const char *sig_name(int signo);
