/* A created container's config.json for a reader. */
#pragma once

/* The document on one line; "null" when it can't be read. */
void spec_show_json(int state_dirfd);

/* What it says of the service, a line each. */
void spec_show_text(int state_dirfd);
