/* Preloaded into a process: fsync and fdatasync fail with EIO while the file named by FAULTY_SYNC exists. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int faulty(void)
{
    const char *path = getenv("FAULTY_SYNC");
    return path && access(path, F_OK) == 0;
}

int fsync(int fd)
{
    if (faulty()) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}

int fdatasync(int fd)
{
    if (faulty()) {
        errno = EIO;
        return -1;
    }
    return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd);
}
