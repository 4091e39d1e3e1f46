/* A disk that hangs: writes, syncs and looks at files below a folder wait while a certain file exists.
 *
 * Preloaded into the program under test. HANG_BELOW is the folder, HANG_WHILE the file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static void wait_for_disk(const char *path) {
    const char *below = getenv("HANG_BELOW"), *file = getenv("HANG_WHILE");
    if (below == NULL || file == NULL || strncmp(path, below, strlen(below)) != 0)
        return;
    while (access(file, F_OK) == 0)
        usleep(10000);
}

static void wait_for_disk_of(int fd) {
    char link[64], path[4096];
    const char *file = getenv("HANG_WHILE");
    if (file == NULL || access(file, F_OK) != 0)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return;
    path[length] = 0;
    wait_for_disk(path);
}

int fdatasync(int fd) {
    wait_for_disk_of(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

int fsync(int fd) {
    wait_for_disk_of(fd);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    wait_for_disk_of(fd);
    return ((ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(
        fd, bytes, count, offset);
}

int statx(int folder, const char *path, int flags, unsigned int mask, struct statx *found) {
    wait_for_disk(path);
    return ((int (*)(int, const char *, int, unsigned int, struct statx *))dlsym(
        RTLD_NEXT, "statx"))(folder, path, flags, mask, found);
}
