/* The limit: the cost of an echo with the same boxes and nothing else. It has blocking sockets, one thread, no codec and no
 * matching of answers. A packet is the length of the rest (u32, big-endian), a nonce, a box. Everything that has come is
 * taken apart at once, and all answers are sent at once.
 *
 *     limit serve BYTES                     prints its port, serves one connection, ends with its standard input
 *     limit ask BYTES IN-FLIGHT "PORT"      is steered by lines, see steered.py
 *
 * BYTES is the largest size of a body (serve), or the size of each (ask).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NONCE = crypto_secretbox_NONCEBYTES, OVERHEAD = 4 + NONCE + crypto_secretbox_MACBYTES };

static const unsigned char key[crypto_secretbox_KEYBYTES] = "a key of this benchmark, no more";
static unsigned char nonce[NONCE];
static unsigned char *in, *out, *body;
static size_t capacity, had, filled;
static long sealed; /* packets, ever */

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void seal(size_t size) {
    unsigned char *packet = out + filled;
    uint32_t length = htonl((uint32_t)(size + OVERHEAD - 4));
    sodium_increment(nonce, NONCE);
    memcpy(packet, &length, 4);
    memcpy(packet + 4, nonce, NONCE);
    crypto_secretbox_easy(packet + 4 + NONCE, body, size, nonce, key);
    filled += size + OVERHEAD;
    sealed++;
}

static void flush(int fd) {
    for (size_t sent = 0; sent < filled;) {
        ssize_t n = write(fd, out + sent, filled - sent);
        if (n < 0) fail("write");
        sent += (size_t)n;
    }
    filled = 0;
}

/* Reads once; opens and answers each packet that is whole while `end` has not come. Returns how many there were, or -1. */
static long turn(int fd, double end) {
    ssize_t n = read(fd, in + had, capacity - had);
    if (n < 0) fail("read");
    if (n == 0) return -1;
    had += (size_t)n;
    size_t offset = 0;
    long packets = 0;
    while (had - offset >= 4) {
        uint32_t length;
        memcpy(&length, in + offset, 4);
        length = ntohl(length);
        if (had - offset - 4 < length) break;
        unsigned char *packet = in + offset + 4;
        size_t size = length - NONCE - crypto_secretbox_MACBYTES;
        if (crypto_secretbox_open_easy(body, packet + NONCE, length - NONCE, packet, key)) fail("box");
        if (end == 0 || now() < end) seal(size);
        offset += 4 + length;
        packets++;
    }
    if (offset) memmove(in, in + offset, had -= offset);
    flush(fd);
    return packets;
}

static void *end_with_standard_input(void *unused) {
    char byte;
    while (read(0, &byte, 1) > 0) {}
    _exit(0);
    return unused;
}

static int tuned(int fd) {
    if (fd < 0) fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    return fd;
}

int main(int argc, char **argv) {
    if (argc < 3 || sodium_init() < 0) return 2;
    size_t size = strtoul(argv[2], NULL, 10);
    capacity = 65536 + 2 * (size + OVERHEAD);
    /* The answers to one read are not larger than what was read; a client's first packets are sent one by one. */
    in = malloc(capacity), out = malloc(capacity), body = calloc(1, capacity);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof place;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (!strcmp(argv[1], "serve")) {
        pthread_t thread;
        nonce[NONCE - 1] = 1; /* the other direction has other nonces */
        if (bind(fd, (struct sockaddr *)&place, length) || listen(fd, 1)) fail("listen");
        getsockname(fd, (struct sockaddr *)&place, &length);
        pthread_create(&thread, NULL, end_with_standard_input, NULL);
        printf("%d\n", ntohs(place.sin_port));
        fflush(stdout);
        fd = tuned(accept(fd, NULL, NULL));
        while (turn(fd, 0) >= 0) {}
        return 0;
    }
    long in_flight = strtol(argv[3], NULL, 10);
    place.sin_port = htons((uint16_t)atoi(argv[4]));
    if (connect(tuned(fd), (struct sockaddr *)&place, length)) fail("connect");
    puts("ready");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        double start = now(), end = start + atof(line);
        long done = 0, before = sealed;
        for (long i = 0; i < in_flight; i++) {
            seal(size);
            if (filled > capacity / 2) flush(fd);
        }
        flush(fd);
        while (done < sealed - before) {
            long packets = turn(fd, end);
            if (packets < 0) return 1;
            done += packets;
        }
        printf("%ld %.9f\n", done, now() - start);
        fflush(stdout);
    }
    return 0;
}
