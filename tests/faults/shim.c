/* Lets system calls on the files below a folder, and on sockets, fail or end their process at a chosen moment.
 *
 * Loaded with LD_PRELOAD. What is to happen is read from a page of memory that is shared with whoever injects the
 * fault; `tests/faults/shim.py` has the same layout. Processes that are started inherit the library and the page.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, FSYNC, RENAME, OPEN, UNLINK, LOCK, CONNECT, SEND, KINDS };
enum action { FAIL, KILL, STOP, TORN, SHORT, SIGNAL };
enum role { ANY, MANAGER, WORKER };

struct page {
    char folder[1024];    /* calls on files below it are counted */
    long armed;           /* nothing is counted or done while 0 */
    long kinds;           /* bits: which kinds are struck */
    long first, count;    /* which of their calls, from 0, and how many of them */
    long action, error, number;
    long manager;         /* process id */
    long role;            /* whose calls are struck */
    long calls;           /* calls that could have been struck so far */
    long struck;          /* that were struck */
    long stopped;         /* process that stopped itself last */
    long seen[KINDS];     /* calls so far, by kind */
};

static struct page *page;

void faults_attach(const char *path)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    void *memory = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    page = memory == MAP_FAILED ? NULL : memory;
    if (file >= 0)
        close(file);
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("MATLOOP_FAULTS");
    if (path)
        faults_attach(path);
}

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
    return dlsym(RTLD_NEXT, name); /* it has a cache of its own */
}

static int below(const char *path)
{
    size_t length = strlen(page->folder);
    return length && !strncmp(path, page->folder, length) && (path[length] == '/' || !path[length]);
}

static int is_file(int descriptor)
{
    char link[64], path[1200];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return below(path);
}

static int is_socket(int descriptor)
{
    struct stat status;
    return !fstat(descriptor, &status) && S_ISSOCK(status.st_mode);
}

/* What to do with a call: -1 fail (errno is set), 0 make it, 1 make half of it; does not return if that kills. */
static int strike(enum kind kind)
{
    int me = getpid();
    __atomic_fetch_add(&page->seen[kind], 1, __ATOMIC_SEQ_CST);
    if (!(page->kinds >> kind & 1) || (page->role == MANAGER && me != page->manager) ||
        (page->role == WORKER && me == page->manager))
        return 0;
    long call = __atomic_fetch_add(&page->calls, 1, __ATOMIC_SEQ_CST);
    if (call < page->first || call >= page->first + page->count)
        return 0;
    __atomic_fetch_add(&page->struck, 1, __ATOMIC_SEQ_CST);
    switch (page->action) {
    case FAIL:
        errno = (int)page->error;
        return -1;
    case KILL:
        kill(me, SIGKILL);
        return 0;
    case STOP:
        page->stopped = me;
        kill(me, SIGSTOP);
        return 0;
    case SIGNAL:
        kill((pid_t)page->manager, (int)page->number);
        return 0;
    default: /* TORN, SHORT */
        return 1;
    }
}

static int hit(int counted, enum kind kind)
{
    return page && page->armed && counted ? strike(kind) : 0;
}

#define ON_FILE(descriptor, kind) hit(page && page->armed && is_file(descriptor), kind)
#define ON_PATH(path, kind) hit(page && page->armed && below(path), kind)

static int on_write(int descriptor)
{
    if (!page || !page->armed)
        return 0;
    if (is_file(descriptor))
        return strike(WRITE);
    return is_socket(descriptor) ? strike(SEND) : 0;
}

static size_t part(int what, size_t size)
{
    return what && size > 1 ? size / 2 : size;
}

static ssize_t after(int what, ssize_t written)
{
    if (what && page->action == TORN)
        kill(getpid(), SIGKILL);
    return written;
}

ssize_t write(int descriptor, const void *bytes, size_t size)
{
    int what = on_write(descriptor);
    return what < 0 ? -1 : after(what, REAL(write)(descriptor, bytes, part(what, size)));
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t at)
{
    int what = on_write(descriptor);
    return what < 0 ? -1 : after(what, REAL(pwrite)(descriptor, bytes, part(what, size), at));
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t at)
{
    int what = on_write(descriptor);
    return what < 0 ? -1 : after(what, REAL(pwrite64)(descriptor, bytes, part(what, size), at));
}

ssize_t writev(int descriptor, const struct iovec *parts, int number)
{
    int what = on_write(descriptor);
    return what < 0 ? -1 : after(what, REAL(writev)(descriptor, parts, what ? 1 : number));
}

ssize_t send(int descriptor, const void *bytes, size_t size, int flags)
{
    int what = hit(1, SEND);
    return what < 0 ? -1 : after(what, REAL(send)(descriptor, bytes, part(what, size), flags));
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags)
{
    return hit(1, SEND) < 0 ? -1 : REAL(sendmsg)(descriptor, message, flags);
}

int connect(int descriptor, const struct sockaddr *address, socklen_t size)
{
    return hit(1, CONNECT) < 0 ? -1 : REAL(connect)(descriptor, address, size);
}

int ftruncate(int descriptor, off_t size)
{
    return ON_FILE(descriptor, WRITE) < 0 ? -1 : REAL(ftruncate)(descriptor, size);
}

int ftruncate64(int descriptor, off64_t size)
{
    return ON_FILE(descriptor, WRITE) < 0 ? -1 : REAL(ftruncate64)(descriptor, size);
}

int fsync(int descriptor)
{
    return ON_FILE(descriptor, FSYNC) < 0 ? -1 : REAL(fsync)(descriptor);
}

int fdatasync(int descriptor)
{
    return ON_FILE(descriptor, FSYNC) < 0 ? -1 : REAL(fdatasync)(descriptor);
}

int flock(int descriptor, int operation)
{
    return ON_FILE(descriptor, LOCK) < 0 ? -1 : REAL(flock)(descriptor, operation);
}

int rename(const char *from, const char *to)
{
    return ON_PATH(to, RENAME) < 0 ? -1 : REAL(rename)(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    return ON_PATH(to, RENAME) < 0 ? -1 : REAL(renameat)(from_folder, from, to_folder, to);
}

int unlink(const char *path)
{
    return ON_PATH(path, UNLINK) < 0 ? -1 : REAL(unlink)(path);
}

#define OPEN_AS(name)                                                     \
    int name(const char *path, int flags, ...)                            \
    {                                                                     \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                     \
        return ON_PATH(path, OPEN) < 0 ? -1 : REAL(name)(path, flags, mode); \
    }

#define OPENAT_AS(name)                                                   \
    int name(int folder, const char *path, int flags, ...)                \
    {                                                                     \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                                     \
        return ON_PATH(path, OPEN) < 0 ? -1 : REAL(name)(folder, path, flags, mode); \
    }

OPEN_AS(open)
OPEN_AS(open64)
OPENAT_AS(openat)
OPENAT_AS(openat64)
