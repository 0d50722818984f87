/*
 * runner: the first process of the agent's container. It starts programs for the guest agent, and does nothing else.
 *
 * It is confined as every program that it starts: same user, no capabilities, same seccomp filter, same limits. What it adds is
 * speed: a command costs a fork. The guest agent, outside the container, makes the pipes, moves all bytes, signals and judges;
 * from here it takes process ids (vouched for by the kernel) and wait statuses, which a program could as well fake by itself.
 *
 * Who could interfere? Programs of the same user. They cannot signal process 1 of their pid namespace unless it asks for it, nor
 * trace it or open what it has open (PR_SET_DUMPABLE), nor change its limits (a filter that they inherit), and the agent accepts
 * one connection only, made before any of them ran. They can stop a new process before it is a program, while this one waits for
 * it: the agent wakes it.
 *
 * C, one thread, no allocation that outlives a start: when programs have used up the container's processes or memory, this one
 * still works. Go's runtime would end the sandbox as soon as it could not have another thread.
 *
 * Protocol, on a SOCK_SEQPACKET socket; all integers in the machine's own order:
 *   agent -> runner   {u32 id, u32 flags} with descriptors: spec, standard output, standard error, and standard input if flags & 1
 *                     flags & 2: they are a terminal, which becomes the program's own
 *       spec          {u32 argc, u32 envc} cwd NUL argv... NUL-terminated each, env... NUL-terminated each
 *   runner -> agent   {u32 kind, u32 id, i32 value, i32 stage}
 *       'S'           sent by the new process itself, before it becomes the program: the kernel tells the agent its process id
 *       'F'           it could not: value is errno
 *       'R'           it has become the program, or ended
 *       'X'           it has ended: value is the wait status
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_SOCKET "/.glovebox/runner.sock"

enum { HAS_STDIN = 1, HAS_TERMINAL = 2 };
enum { MAX_FDS = 4, MAX_SPEC = 4 << 20, MAX_STRINGS = 65536, MAX_RUNS = 1024 };
enum { STAGE_START = 1, STAGE_DIRECTORY = 2, STAGE_PROGRAM = 3 };

struct request {
    uint32_t id, flags;
};

struct reply {
    uint32_t kind, id;
    int32_t value, stage;
};

struct spec {
    char *cwd;
    char **argv, **env;
};

extern char **environ;

static int agent;
static struct {
    pid_t pid;
    uint32_t id;
} runs[MAX_RUNS];

/* The agent reads all the time. If it is gone, so is the machine. */
static void reply(uint32_t kind, uint32_t id, int32_t value, int32_t stage)
{
    struct reply message = {kind, id, value, stage};
    while (send(agent, &message, sizeof message, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            _exit(1);
}

/* Takes the next string of the spec, which ends before `end`. */
static char *take(char **at, char *end)
{
    char *string = *at, *nul = memchr(string, 0, (size_t)(end - string));
    if (!nul)
        return NULL;
    *at = nul + 1;
    return string;
}

static int sets(const char *variable, const char *other)
{
    size_t length = strcspn(variable, "=");
    return strncmp(variable, other, length + 1) == 0 && other[length] == '=';
}

/* The container's environment, overridden by the run's. Answers 0 when the spec is not well formed. */
static int read_spec(char *text, size_t size, struct spec *spec)
{
    uint32_t argc, envc, own = 0;
    if (size < 2 * sizeof argc)
        return 0;
    memcpy(&argc, text, sizeof argc);
    memcpy(&envc, text + sizeof argc, sizeof envc);
    char *at = text + 2 * sizeof argc, *end = text + size;
    if (argc < 1 || argc > MAX_STRINGS || envc > MAX_STRINGS || !(spec->cwd = take(&at, end)))
        return 0;
    while (environ[own])
        own++;
    spec->argv = calloc(argc + 1, sizeof *spec->argv);
    spec->env = calloc(envc + own + 1, sizeof *spec->env);
    if (!spec->argv || !spec->env)
        return 0;
    for (uint32_t i = 0; i < argc; i++)
        if (!(spec->argv[i] = take(&at, end)))
            return 0;
    for (uint32_t i = 0; i < envc; i++)
        if (!(spec->env[i] = take(&at, end)))
            return 0;
    uint32_t count = envc;
    for (uint32_t i = 0; i < own; i++) {
        int overridden = 0;
        for (uint32_t j = 0; j < envc && !overridden; j++)
            overridden = sets(environ[i], spec->env[j]);
        if (!overridden)
            spec->env[count++] = environ[i];
    }
    return 1;
}

static const char *path_of(char **env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

/* Becomes the program, searched in the PATH that it will have; answers errno. No shell is tried for what is no program. */
static int become(struct spec *spec)
{
    const char *name = spec->argv[0];
    int failure = ENOENT;
    if (strchr(name, '/')) {
        execve(name, spec->argv, spec->env);
        return errno;
    }
    if (!*name)
        return ENOENT;
    for (const char *path = path_of(spec->env); path; path = strchr(path, ':') ? strchr(path, ':') + 1 : NULL) {
        char candidate[4096];
        int length = (int)strcspn(path, ":");
        if ((size_t)length + strlen(name) + 2 > sizeof candidate)
            continue;
        memcpy(candidate, path, (size_t)length);
        candidate[length] = '/';
        strcpy(candidate + length + (length > 0), name); /* an empty part of PATH is the working directory */
        execve(candidate, spec->argv, spec->env);
        if (errno == EACCES)
            failure = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR)
            return errno;
    }
    return failure;
}

/* In the new process, which borrows this one's memory until it is another program. */
__attribute__((noreturn)) static void child(struct request *request, struct spec *spec, const int *fds)
{
    reply('S', request->id, 0, 0);
    int stage = STAGE_START;
    if (setsid() >= 0 && dup2(fds[0], 0) >= 0 && dup2(fds[1], 1) >= 0 && dup2(fds[2], 2) >= 0 &&
        (!(request->flags & HAS_TERMINAL) || ioctl(0, TIOCSCTTY, 0) == 0)) {
        stage = STAGE_DIRECTORY;
        if (chdir(spec->cwd) == 0) {
            sigset_t none;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, NULL);
            stage = STAGE_PROGRAM;
            errno = become(spec);
        }
    }
    reply('F', request->id, errno, stage);
    _exit(127);
}

static void start(struct request *request, struct spec *spec, const int *fds)
{
    int slot = 0;
    while (slot < MAX_RUNS && runs[slot].pid)
        slot++;
    if (slot == MAX_RUNS)
        return reply('F', request->id, EAGAIN, STAGE_START);
    pid_t pid = vfork();
    if (pid == 0)
        child(request, spec, fds);
    if (pid < 0)
        return reply('F', request->id, errno, STAGE_START);
    runs[slot].pid = pid;
    runs[slot].id = request->id;
    reply('R', request->id, 0, 0);
}

static void open_and_start(struct request *request, const int *fds, int count)
{
    struct stat file;
    struct spec spec = {0};
    int has_stdin = (request->flags & HAS_STDIN) != 0;
    if (count != 3 + has_stdin || fstat(fds[0], &file) < 0 || file.st_size < 8 || file.st_size > MAX_SPEC)
        return reply('F', request->id, EINVAL, STAGE_START);
    char *text = mmap(NULL, (size_t)file.st_size, PROT_READ, MAP_PRIVATE, fds[0], 0);
    if (text == MAP_FAILED)
        return reply('F', request->id, errno, STAGE_START);
    int input = has_stdin ? fds[3] : open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (input < 0)
        reply('F', request->id, errno, STAGE_START);
    else if (!read_spec(text, (size_t)file.st_size, &spec))
        reply('F', request->id, EINVAL, STAGE_START);
    else
        start(request, &spec, (int[]){input, fds[1], fds[2]});
    if (!has_stdin && input >= 0)
        close(input);
    free(spec.argv);
    free(spec.env);
    munmap(text, (size_t)file.st_size);
}

/* Answers 0 when the agent is gone. */
static int receive(void)
{
    struct request request;
    int fds[MAX_FDS], count = 0;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control;
    struct iovec part = {&request, sizeof request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(agent, &message, MSG_CMSG_CLOEXEC);
    if (size < 0)
        return errno == EINTR || errno == EAGAIN;
    if (size == 0)
        return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(header), (size_t)count * sizeof(int));
    }
    if (size == sizeof request)
        open_and_start(&request, fds, count);
    for (int i = 0; i < count; i++)
        close(fds[i]);
    return size == sizeof request;
}

/* Children, and orphans of theirs: process 1 inherits them. */
static void reap(void)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < MAX_RUNS; i++)
            if (runs[i].pid == pid) {
                runs[i].pid = 0;
                reply('X', runs[i].id, status, 0);
                break;
            }
}

#if defined(__x86_64__)
enum { ARCH = AUDIT_ARCH_X86_64, ARCH_32 = AUDIT_ARCH_I386, PRLIMIT_32 = 340, X32_BIT = 0x40000000 };
#elif defined(__aarch64__)
enum { ARCH = AUDIT_ARCH_AARCH64, ARCH_32 = AUDIT_ARCH_ARM, PRLIMIT_32 = 369, X32_BIT = 0 };
#else
#error "the numbers of prlimit are not known"
#endif

/*
 * The kernel lets a program change the limits of any process of its user: this one would be left without descriptors, or be killed
 * for the processor time that it has used. A filter above the container's own, which every program inherits, refuses it for process 1.
 */
static void keep_limits(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH_32, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 0, 7),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)X32_BIT),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 2, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)), /* 32-bit programs come here */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PRLIMIT_32, 0, 2),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])), /* the lower half: both are little-endian */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        err(1, "limits");
}

static void connect_agent(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = AGENT_SOCKET};
    agent = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (agent < 0 || connect(agent, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "agent");
}

int main(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    if (getpid() != 1)
        errx(2, "the runner is process 1 only");
    if (prctl(PR_SET_DUMPABLE, 0) < 0 || sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        err(1, "prepare");
    int children = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (children < 0)
        err(1, "signals");
    keep_limits();
    connect_agent();
    struct pollfd sources[] = {{.fd = agent, .events = POLLIN}, {.fd = children, .events = POLLIN}};
    for (;;) {
        if (poll(sources, 2, -1) < 0 && errno != EINTR)
            err(1, "poll");
        if (sources[1].revents) {
            struct signalfd_siginfo ignored;
            while (read(children, &ignored, sizeof ignored) > 0)
                ;
            reap();
        }
        if (sources[0].revents && !receive())
            return 0;
    }
}
