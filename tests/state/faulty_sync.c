/* Preloaded into a process. While the file named by FAULTY_SYNC exists, fsync and fdatasync fail with EIO; while the file
   named by FAULTY_FULL exists, every write to a file below the directory FAULTY_UNDER fails with ENOSPC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_on(const char *name)
{
    const char *path = getenv(name);
    return path && access(path, F_OK) == 0;
}

static int is_full(int fd)
{
    const char *under = getenv("FAULTY_UNDER");
    char link[64], target[4096];
    ssize_t length;
    if (!under || !is_on("FAULTY_FULL"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, target, sizeof target);
    return length > 0 && (size_t)length >= strlen(under) && strncmp(target, under, strlen(under)) == 0;
}

int fsync(int fd)
{
    if (is_on("FAULTY_SYNC")) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd)
{
    if (is_on("FAULTY_SYNC")) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}

ssize_t write(int fd, const void *data, size_t size)
{
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return ((ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite"))(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, data, size, at);
}
