#include "ipc/ttrpc.h"

static void put_u32(unsigned char *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void ttrpc_put(unsigned char buf[TTRPC_HEAD], struct ttrpc_head head)
{
	put_u32(buf, head.length);
	put_u32(buf + 4, head.stream);
	buf[8] = head.type;
	buf[9] = head.flags;
}

struct ttrpc_head ttrpc_get(const unsigned char buf[TTRPC_HEAD])
{
	return (struct ttrpc_head){
		.length = get_u32(buf),
		.stream = get_u32(buf + 4),
		.type = buf[8],
		.flags = buf[9],
	};
}
