#include "init/exec.h"

#include <errno.h>

int exec_failure_code(int err)
{
	return err == -ENOENT ? 127 : 126;
}
