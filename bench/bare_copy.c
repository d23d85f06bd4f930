/* The physical limit of a relay: recv and send of the same bytes between two sockets, nothing else.
 *
 *   bare_copy FILE...      copies all bytes of the files through the relay, prints "bytes cpu_s wall_s" of the relay
 *
 * Three processes on loopback: a feeder that sends the files (warm in the page cache), the relay (measured), and a
 * drain that throws the bytes away. The relay receives into one buffer of 1 MiB and sends from it, as ferryd does.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES (1 << 20)

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int listen_loopback(uint16_t *out_port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 1) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        die("listen");
    }
    *out_port = ntohs(address.sin_port);
    return fd;
}

static int connect_loopback(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        die("connect");
    }
    return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            die("send");
        }
        data += sent;
        len -= (size_t)sent;
    }
}

/* As a broker does: pages of the log go to the socket without a copy, so it is the relay that first touches them. */
static void send_file(int out, int fd, off_t size)
{
    off_t at = 0;
    while (at < size) {
        if (sendfile(out, fd, &at, (size_t)(size - at)) <= 0) {
            die("sendfile");
        }
    }
}

static void feed(uint16_t port, char **files, int count)
{
    int out = connect_loopback(port);
    for (int i = 0; i < count; i++) {
        int fd = open(files[i], O_RDONLY);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) != 0) {
            die(files[i]);
        }
        send_file(out, fd, status.st_size);
        close(fd);
    }
    exit(0);
}

static void drain(int listener)
{
    static char buffer[BUFFER_BYTES];
    int in = accept(listener, NULL, NULL);
    while (recv(in, buffer, sizeof(buffer), 0) > 0) {
    }
    exit(0);
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static size_t relay(int in, int out)
{
    static char buffer[BUFFER_BYTES];
    size_t total = 0;
    ssize_t got;
    while ((got = recv(in, buffer, sizeof(buffer), 0)) > 0) {
        send_all(out, buffer, (size_t)got);
        total += (size_t)got;
    }
    return total;
}

static pid_t fork_or_die(void)
{
    pid_t pid = fork();
    if (pid < 0) {
        die("fork");
    }
    return pid;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bare_copy FILE...\n");
        return 2;
    }
    uint16_t in_port;
    uint16_t out_port;
    int in_listener = listen_loopback(&in_port);
    int out_listener = listen_loopback(&out_port);
    pid_t drainer = fork_or_die();
    if (drainer == 0) {
        drain(out_listener);
    }
    pid_t feeder = fork_or_die();
    if (feeder == 0) {
        feed(in_port, argv + 1, argc - 1);
    }
    int out = connect_loopback(out_port);
    int in = accept(in_listener, NULL, NULL);
    struct timespec begin;
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    size_t bytes = relay(in, out);
    clock_gettime(CLOCK_MONOTONIC, &end);
    close(out);
    waitpid(drainer, NULL, 0);
    waitpid(feeder, NULL, 0);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%zu %.3f %.3f\n", bytes, seconds(usage.ru_utime) + seconds(usage.ru_stime),
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return 0;
}
