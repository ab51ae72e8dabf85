/* One binary, two roles: PID 1 of a holdfast container by its environment, else the PID 1 of
 * anybody's container. Only here does the program end. */
#include <stdlib.h>

#include "init/alone.h"
#include "init/pid1.h"

int main(int argc, char **argv, char **envp)
{
	if (getenv("HOLDFAST_INIT"))
		return pid1_main();
	return alone_main(argv + (argc > 0), envp);
}
