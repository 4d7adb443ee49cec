/* Preloaded into a worker: the next packet that it decodes after a file appeared ends it with a
 * segmentation fault inside the decoder's thread. The file goes first, so one worker crashes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int (*send_packet)(void *, const void *);
static send_packet real;

/* PyAV loads its own FFmpeg privately, where dlsym(RTLD_NEXT) does not look. */
static int find(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    if (!info->dlpi_name || !strstr(info->dlpi_name, "libavcodec"))
        return 0;
    void *library = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    real = library ? (send_packet)dlsym(library, "avcodec_send_packet") : NULL;
    return real != NULL;
}

int avcodec_send_packet(void *context, const void *packet) {
    const char *flag = getenv("CRASH_AT_FLAG");
    if (flag && unlink(flag) == 0)
        *(volatile int *)0 = 0;
    if (!real)
        dl_iterate_phdr(find, NULL);
    return real(context, packet);
}
