/* The exit code of a run whose command could not be executed. */
#pragma once

/* What a shell returns for a command that could not be executed: 127 not found, else 126. */
int exec_failure_code(int err);
