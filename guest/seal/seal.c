/*
 * seal: holds a file's contents in memory that nobody can change, root included.
 *
 *   seal FILE
 *
 * Runs on the host. Copies FILE into a memfd (holes stay holes), seals it against writing, growing, shrinking and further
 * sealing (fcntl(2), "File seals"), leaves it open as descriptor 3, prints "sealed" and waits for the end of standard input. The
 * gateway opens /proc/PID/fd/3 meanwhile; the memory lives as long as somebody has it open or mapped.
 *
 * Why: machines are started from one saved memory that all of them map copy-on-write. QEMU before 8.2 opens such a file for
 * writing, so a machine that has broken out of its guest could change what every later one starts from. A sealed memfd can be
 * opened for writing and mapped privately, but never be written.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEALED_FD = 3 };

static void copy_extent(int from, int to, off_t begin, off_t end)
{
    if (lseek(to, begin, SEEK_SET) < 0)
        err(1, "seek");
    while (begin < end) {
        ssize_t sent = sendfile(to, from, &begin, (size_t)(end - begin));
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            err(1, "copy");
    }
}

static void copy_sparse(int from, int to, off_t size)
{
    for (off_t end = 0; end < size;) {
        off_t begin = lseek(from, end, SEEK_DATA);
        if (begin < 0 && errno == ENXIO)
            return; /* nothing but a hole is left */
        if (begin < 0 || (end = lseek(from, begin, SEEK_HOLE)) < 0)
            err(1, "find data");
        copy_extent(from, to, begin, end);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        errx(2, "usage: seal FILE");
    int from = open(argv[1], O_RDONLY | O_CLOEXEC);
    struct stat file;
    if (from < 0 || fstat(from, &file) < 0)
        err(1, "%s", argv[1]);
    int memory = memfd_create("glovebox-template", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory < 0 || ftruncate(memory, file.st_size) < 0)
        err(1, "memfd");
    copy_sparse(from, memory, file.st_size);
    if (fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
        err(1, "seal");
    if (memory != SEALED_FD && dup3(memory, SEALED_FD, O_CLOEXEC) < 0)
        err(1, "descriptor");
    if (write(STDOUT_FILENO, "sealed\n", 7) != 7)
        err(1, "stdout");
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    return 0;
}
