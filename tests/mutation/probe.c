/* probe.c: does a 32-bit program with sanitizers link and run here? */
int main(void) { return sizeof(void *) == 4 ? 0 : 1; }
