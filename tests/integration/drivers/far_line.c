/* A line between two network namespaces: so many milliseconds long, so many bytes a second wide.
 *
 *   far_line NETNS_A NETNS_B DELAY_MS BYTES_A_SECOND [LOSS]
 *
 * One TUN device "far" in each; a packet that goes into one comes out of the other DELAY_MS (one way) after the bytes before
 * it have passed. Packets carry virtio headers with segmentation left to the other side, so that 64 KiB cost one copy each
 * way; TCP at both ends sees an ordinary line that drops what its buffer cannot hold, and the share LOSS (0 to 1) of the rest.
 * SIGUSR1: nothing passes from A to B any more; SIGUSR2: from B to A; SIGHUP: both are whole again. Says "ready" when packets
 * may come.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES (70 << 10)
#define BUFFER_MS    200 /* what a router in between would hold */
#define SECOND_NS    1000000000LL

struct packet {
    struct packet *next;
    int64_t due_ns;
    size_t len;
    uint8_t data[];
};

struct direction {
    int from;
    int to;
    struct packet *first;
    struct packet *last;
    int64_t free_ns; /* when the line has taken what was put on it */
};

static int64_t delay_ns;
static int64_t bytes_per_s;
static double loss;
static volatile sig_atomic_t dropped[2]; /* by direction */

static void on_signal(int number)
{
    if (number == SIGHUP) {
        dropped[0] = dropped[1] = 0;
    } else {
        dropped[number == SIGUSR1 ? 0 : 1] = 1;
    }
}

static void fail(const char *what)
{
    fprintf(stderr, "far_line: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static int tun_in(const char *netns)
{
    char path[300];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    snprintf(path, sizeof(path), "/var/run/netns/%.200s", netns);
    int space = open(path, O_RDONLY | O_CLOEXEC);
    if (space < 0 || setns(space, CLONE_NEWNET) != 0) {
        fail(path);
    }
    close(space);
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    snprintf(request.ifr_name, sizeof(request.ifr_name), "far");
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0) {
        fail("TUNSETIFF");
    }
    unsigned long offload = TUN_F_CSUM | TUN_F_TSO4;
    if (ioctl(tun, TUNSETOFFLOAD, offload) != 0) {
        fail("TUNSETOFFLOAD");
    }
    return tun;
}

static void take_in(struct direction *line, bool drops)
{
    static uint8_t data[PACKET_BYTES];
    ssize_t len;
    while ((len = read(line->from, data, sizeof(data))) > 0) {
        int64_t now = now_ns();
        int64_t begin = line->free_ns > now ? line->free_ns : now;
        if (drops || drand48() < loss || begin - now > BUFFER_MS * 1000000LL) {
            continue; /* dropped */
        }
        struct packet *packet = malloc(sizeof(*packet) + (size_t)len);
        if (packet == NULL) {
            fail("memory");
        }
        line->free_ns = begin + (int64_t)len * SECOND_NS / bytes_per_s;
        packet->next = NULL;
        packet->due_ns = line->free_ns + delay_ns;
        packet->len = (size_t)len;
        memcpy(packet->data, data, (size_t)len);
        if (line->last == NULL) {
            line->first = packet;
        } else {
            line->last->next = packet;
        }
        line->last = packet;
    }
}

static void give_out(struct direction *line)
{
    while (line->first != NULL && line->first->due_ns <= now_ns()) {
        struct packet *packet = line->first;
        ssize_t done = write(line->to, packet->data, packet->len); /* refused: it is lost */
        (void)done;
        line->first = packet->next;
        if (line->first == NULL) {
            line->last = NULL;
        }
        free(packet);
    }
}

static struct timespec until_due(const struct direction *lines)
{
    int64_t wait = SECOND_NS;
    for (int i = 0; i < 2; i++) {
        int64_t left = lines[i].first == NULL ? wait : lines[i].first->due_ns - now_ns();
        wait = left < wait ? left : wait;
    }
    wait = wait > 0 ? wait : 0;
    return (struct timespec){.tv_sec = wait / SECOND_NS, .tv_nsec = wait % SECOND_NS};
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6 || atof(argv[4]) < 1000) {
        fprintf(stderr, "usage: far_line NETNS_A NETNS_B DELAY_MS BYTES_A_SECOND [LOSS]\n");
        return 2;
    }
    loss = argc == 6 ? atof(argv[5]) : 0;
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, on_signal);
    signal(SIGHUP, on_signal);
    delay_ns = (int64_t)(atof(argv[3]) * 1e6);
    bytes_per_s = (int64_t)atof(argv[4]);
    int a = tun_in(argv[1]);
    int b = tun_in(argv[2]);
    struct direction lines[2] = {
        {.from = a, .to = b},
        {.from = b, .to = a}
    };
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd polls[2] = {
            {.fd = a, .events = POLLIN},
            {.fd = b, .events = POLLIN}
        };
        struct timespec wait = until_due(lines);
        if (ppoll(polls, 2, &wait, NULL) < 0 && errno != EINTR) {
            fail("poll");
        }
        for (int i = 0; i < 2; i++) {
            take_in(&lines[i], dropped[i] != 0);
            give_out(&lines[i]);
        }
    }
}
