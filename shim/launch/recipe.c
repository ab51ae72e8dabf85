/* The order is the security of it: each line says why it stands where it does. */
#include "shim/launch/recipe.h"

#include "ipc/base/mem.h"
#include "shim/launch/launch.h"

const struct step parent_steps[] = {
	/* in the host's network namespace, which joining may leave */
	{"listeners", step_listeners},
	/* the keeper's descriptor belongs to the host's mount namespace: cloned while we are there
	 */
	{"init-binary", step_exe},
	/* whatever is mounted from here on vanishes with this short-lived process */
	{"mount-namespace", step_mount_namespace},
	/* joined ones are inherited by the child; before it, since its user namespace has no right
	 */
	{"join-namespaces", step_join},
	/* as host root: overlay and id-mapped mounts need it */
	{"rootfs", step_rootfs},
	{"dev", step_dev},
	/* from the host, never the image's: it is what files are masked with */
	{"null-device", step_null},
	{"volumes", step_binds},
	{"notify", step_notify},
	{"health", step_health},
	/* that of the v2 tree, and on pure v2 that is all of it */
	{"cgroup", step_groups},
	{"cgroup-limits", step_limits, STEP_GROUPS_FIRST},
	{"device-rules", step_devices_rule, STEP_GROUPS_FIRST},
	/* opened now: init's first reading precedes the service's first instruction */
	{"counters", step_counters, STEP_GROUPS_FIRST},
	{"cgroup-view", step_group_view},
	{"plan", step_plan},
	/* in the state directory, which the child leaves behind */
	{"door", step_door},
	/* deposited with the keeper before anybody uses them */
	{"stdio", step_stdio},
	/* last look: with the keeper dead the child would fall to a stranger */
	{"keeper", step_keeper},
	{"clone", step_clone},
	{"deposit", step_deposit},
	/* the child waits for its ids before it does anything */
	{"id-maps", step_maps},
	/* while the child builds its inside, where nothing of the image runs */
	{"cgroup", step_groups_v1, STEP_GROUPS_BESIDE},
	{"cgroup-limits", step_limits, STEP_GROUPS_BESIDE},
	{"device-rules", step_devices_rule, STEP_GROUPS_BESIDE},
	{"counters", step_counters, STEP_GROUPS_BESIDE},
	/* slow on v1 (RCU) */
	{"cgroup-enter", step_enter_groups},
	{"build", step_watch_build},
	/* after the build, which must not run into them, before the exec, which inherits them */
	{"inherited-limits", step_inherited},
	{"exec", step_watch_exec},
};
const size_t parent_step_count = array_size(parent_steps);

const struct step child_steps[] = {
	/* first: nobody inside may trace us or read our descriptors, ever */
	{"alone", step_alone},
	{"id-maps", step_mapped},
	{"loopback", step_loopback},
	{"hostname", step_hostname},
	/* needs a place in a mount namespace before anything can be mounted on it (before 6.15) */
	{"attach-root", step_attach_root},
	{"mounts", step_mounts},
	/* over whatever stands at /run */
	{"notify", step_notify_place},
	/* in the container's own devpts, which stands now */
	{"terminal", step_terminal},
	/* through our procfs, while it is still writable */
	{"sysctl", step_sysctl},
	{"readonly-paths", step_readonly_paths},
	/* after all mounts, so that none can lie over a mask */
	{"masked-paths", step_masked_paths},
	/* after the last mount point was made in it */
	{"readonly-root", step_readonly_root},
	{"pivot-root", step_pivot},
	/* in the container's network, beneath its root */
	{"probes", step_probes},
	/* as init will see them; seals the plan */
	{"places", step_places},
	{"keyring", step_keyring},
	{"built", step_built},
	/* only now is this process in its groups: they become the namespace's roots */
	{"cgroup-namespace", step_cgroup_namespace},
	/* last of what needs them */
	{"capabilities", step_capabilities},
	{"exec", step_exec},
};
const size_t child_step_count = array_size(child_steps);
