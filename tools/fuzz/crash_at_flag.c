/* Preloaded into a worker: the next packet that it decodes after a file appeared ends it with a
 * segmentation fault inside the decoder's thread. The file goes first, so one worker crashes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int avcodec_send_packet(void *context, const void *packet) {
    static int (*real)(void *, const void *);
    const char *flag = getenv("CRASH_AT_FLAG");
    if (flag && unlink(flag) == 0)
        *(volatile int *)0 = 0;
    if (!real)
        real = (int (*)(void *, const void *))dlsym(RTLD_NEXT, "avcodec_send_packet");
    return real(context, packet);
}
