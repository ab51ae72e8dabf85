/* The closed table of what a supervisor may ask of PID 1. */
#pragma once

struct pid1;

/* Takes every packet that is there. */
void verb_turn(struct pid1 *p);
