/*
 * inside: answers what the kernel tells a program in the agent's container, for the attestation.
 *
 *   inside QUESTION...
 *
 *   <PATH   the content of a file
 *   ?PATH   whether there is such a thing (a symbolic link is one)
 *   @PATH   whether it is, or leads to, a socket
 *   sPATH   the sockets in a directory tree, one path after the other, each ended by NUL
 *   dPATH   its device nodes, likewise
 *
 * Each answer is a line with its length in bytes, and that many bytes; the line "-" is the answer that there is no such thing. What
 * can't be found out ends the program with a complaint and exit code 1: it must not look like a good answer. What to ask and what
 * to make of it is the gateway's business (src/engine/witness.ts).
 *
 * C and static: it is the first program of every sandbox, depends on nothing in the image, and an emulated machine runs it in a tenth
 * of the time that a program with a runtime takes.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* No file of interest is longer; a longer one is no answer. */
static char buffer[256 * 1024];
static size_t length;

static void append(const char *bytes, size_t count)
{
    if (count > sizeof buffer - length)
        errx(1, "an answer is too long");
    memcpy(buffer + length, bytes, count);
    length += count;
}

static void answer(void)
{
    if (printf("%zu\n", length) < 0 || fwrite(buffer, 1, length, stdout) != length)
        err(1, "write");
}

static void no_such_thing(void)
{
    if (puts("-") == EOF)
        err(1, "write");
}

static void content(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) {
        no_such_thing();
        return;
    }
    if (file < 0)
        err(1, "%s", path);
    for (;;) {
        char part[4096];
        ssize_t count = read(file, part, sizeof part);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            err(1, "%s", path);
        if (count == 0)
            break;
        append(part, (size_t)count);
    }
    close(file);
    answer();
}

/* What can't be looked at may well be there. */
static void presence(const char *path)
{
    struct stat it;
    if (lstat(path, &it) < 0 && (errno == ENOENT || errno == ENOTDIR))
        no_such_thing();
    else
        answer();
}

static void socket_at(const char *path)
{
    struct stat it;
    if (stat(path, &it) == 0 && S_ISSOCK(it.st_mode))
        answer();
    else
        no_such_thing();
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

/* What can't be entered is the image's own and is passed over: the agent's user can't reach what is in it either. */
static void tree(const char *path, int devices)
{
    char *const roots[] = {(char *)path, NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (walk == NULL)
        err(1, "%s", path);
    for (;;) {
        errno = 0;
        FTSENT *entry = fts_read(walk);
        if (entry == NULL)
            break;
        int unknown = entry->fts_info == FTS_DNR || entry->fts_info == FTS_NS || entry->fts_info == FTS_ERR;
        if (unknown && entry->fts_errno != EACCES && entry->fts_errno != ENOENT)
            errx(1, "%s: %s", entry->fts_path, strerror(entry->fts_errno));
        if (unknown || entry->fts_info == FTS_DP)
            continue;
        mode_t mode = entry->fts_statp->st_mode;
        if (devices ? S_ISCHR(mode) || S_ISBLK(mode) : S_ISSOCK(mode))
            append(entry->fts_path, entry->fts_pathlen + 1u);
    }
    if (errno != 0)
        err(1, "%s", path);
    fts_close(walk);
    answer();
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "usage: inside QUESTION...");
    for (int i = 1; i < argc; i++) {
        const char *path = argv[i] + 1;
        length = 0;
        switch (argv[i][0]) {
        case '<':
            content(path);
            break;
        case '?':
            presence(path);
            break;
        case '@':
            socket_at(path);
            break;
        case 's':
            tree(path, 0);
            break;
        case 'd':
            tree(path, 1);
            break;
        default:
            errx(2, "not a question: %s", argv[i]);
        }
    }
    if (fflush(stdout) == EOF)
        err(1, "write");
    return 0;
}
