/* The reference in C: the least that a load tester of streamed answers has to do, and nothing else.

   Usage: epoll_client HOST PORT STREAMS REQUESTS STAGGER_NS BODY ROWS. A closed loop over HTTP/1.1: epoll, one read and one
   stamp per readiness, chunked decoding, events found by their blank line, content told apart by a search for its key.
   Writes a line of JSON per request (id, sent, times of its content events; ns of CLOCK_MONOTONIC) to ROWS after the
   load, and to stdout what the load cost. Anything unexpected ends it: it is a yardstick, not a tool. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { READ = 65536, PART = 4096, READY = 256, FIRST_TIMES = 64 };
enum state { HEAD, SIZE, DATA, AFTER_DATA, TRAILER };

struct request {
    int64_t sent;
    int64_t *times;
    int count, room;
};

struct stream {
    int fd;
    enum state state;
    size_t left;              /* of the HTTP chunk */
    size_t held, begun;       /* bytes kept of a line and of an event that are not complete */
    struct request *request;
    char line[PART], event[PART];
};

static struct sockaddr_in address;
static struct request *requests;
static int total, next_request, finished, poller;
static const char *body, *host;

static void die(const char *format, ...) {
    va_list given;
    va_start(given, format);
    fprintf(stderr, "epoll_client: ");
    vfprintf(stderr, format, given);
    fprintf(stderr, "\n");
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void ask(struct stream *s) {
    if (next_request >= total) return;
    char out[PART];
    int length = snprintf(out, sizeof out,
        "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Request-Id: r%d\r\n"
        "Content-Length: %zu\r\n\r\n%s", host, next_request, strlen(body), body);
    if (length >= (int)sizeof out) die("the body is longer than %d bytes", PART);
    s->request = &requests[next_request++];
    s->state = HEAD;
    s->request->sent = now();
    if (write(s->fd, out, length) != length) die("cannot send: %s", strerror(errno));
}

static void start(struct stream *s) {
    int one = 1;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s->fd, (struct sockaddr *)&address, sizeof address)) die("cannot connect: %s", strerror(errno));
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(s->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event wanted = { .events = EPOLLIN, .data.ptr = s };
    if (epoll_ctl(poller, EPOLL_CTL_ADD, s->fd, &wanted)) die("epoll_ctl: %s", strerror(errno));
    ask(s);
}

static void stamp(struct request *r, int64_t at) {
    if (r->count == r->room) {
        r->room = r->room ? 2 * r->room : FIRST_TIMES;
        if (!(r->times = realloc(r->times, r->room * sizeof *r->times))) die("no memory");
    }
    r->times[r->count++] = at;
}

/* An event of output: its content is not empty. The role, the usage and [DONE] have none. */
static void take(struct stream *s, const char *event, size_t length, int64_t at) {
    static const char key[] = "\"content\":\"";
    const char *found = memmem(event, length, key, sizeof key - 1);
    if (found && found + sizeof key - 1 < event + length && found[sizeof key - 1] != '"') stamp(s->request, at);
}

static void body_bytes(struct stream *s, const char *data, size_t length, int64_t at) {
    if (s->begun) {
        if (s->begun + length > PART) die("an event is longer than %d bytes", PART);
        memcpy(s->event + s->begun, data, length);
        data = s->event;
        length += s->begun;
    }
    const char *end = data + length, *blank;
    while ((blank = memmem(data, end - data, "\n\n", 2))) {
        if (!memcmp(data, "data: ", 6)) take(s, data, blank - data, at);
        data = blank + 2;
    }
    s->begun = end - data;
    if (s->begun > PART) die("an event is longer than %d bytes", PART);
    memmove(s->event, data, s->begun);
}

static void complete(struct stream *s) {
    finished++;
    s->request = NULL;
    ask(s);
}

/* One line of the HTTP framing, or the whole head. */
static void framing(struct stream *s, const char *line) {
    switch (s->state) {
    case HEAD:
        if (strncmp(line, "HTTP/1.1 200", 12) || !strcasestr(line, "\r\ntransfer-encoding: chunked")) die("answer: %s", line);
        s->state = SIZE;
        break;
    case SIZE:
        s->left = strtoul(line, NULL, 16);
        s->state = s->left ? DATA : TRAILER;
        break;
    case AFTER_DATA:
        s->state = SIZE;
        break;
    default:
        complete(s);
    }
}

static void feed(struct stream *s, const char *data, size_t length, int64_t at) {
    const char *end = data + length;
    while (data < end) {
        if (s->state == DATA) {
            size_t n = (size_t)(end - data) < s->left ? (size_t)(end - data) : s->left;
            body_bytes(s, data, n, at);
            data += n;
            if (!(s->left -= n)) s->state = AFTER_DATA;
            continue;
        }
        const char *mark = s->state == HEAD ? "\r\n\r\n" : "\r\n";
        size_t had = s->held, more = (size_t)(end - data), room = PART - 1 - had;
        if (s->state != HEAD && !had) {          /* the usual case: the line is here as a whole */
            char *found = memmem(data, more, "\r\n", 2);
            if (found) {
                *found = 0;
                framing(s, data);
                data = found + 2;
                continue;
            }
        }
        if (more > room) more = room;
        memcpy(s->line + had, data, more);
        s->held += more;
        s->line[s->held] = 0;
        char *found = strstr(s->line, mark);
        if (!found) {
            if (s->held == PART - 1) die("a line or head is longer than %d bytes", PART);
            data += more;
            continue;
        }
        *found = 0;
        data += found + strlen(mark) - s->line - had;
        s->held = 0;
        framing(s, s->line);
    }
}

static void readable(struct stream *s) {
    static char data[READ];
    ssize_t got = read(s->fd, data, READ);
    int64_t at = now();
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) die("the server closed a connection: %s", got ? strerror(errno) : "end of stream");
    feed(s, data, got, at);
}

static void write_rows(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) die("%s: %s", path, strerror(errno));
    for (int i = 0; i < total; i++) {
        struct request *r = &requests[i];
        fprintf(file, "{\"id\":\"r%d\",\"sent\":%" PRId64 ",\"times\":[", i, r->sent);
        for (int k = 0; k < r->count; k++) fprintf(file, "%s%" PRId64, k ? "," : "", r->times[k]);
        fprintf(file, "]}\n");
    }
    if (fclose(file)) die("%s: %s", path, strerror(errno));
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int starter(long stagger) {
    struct itimerspec every = { { stagger / 1000000000, stagger % 1000000000 }, { 0, 1 } };
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    timerfd_settime(timer, 0, &every, NULL);
    struct epoll_event wanted = { .events = EPOLLIN, .data.ptr = NULL };
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &wanted);
    return timer;
}

int main(int argc, char **argv) {
    if (argc != 8) die("usage: HOST PORT STREAMS REQUESTS STAGGER_NS BODY ROWS");
    int count = atoi(argv[3]), started = 0;
    host = argv[1], body = argv[6], total = atoi(argv[4]);
    address.sin_family = AF_INET;
    address.sin_port = htons(atoi(argv[2]));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("%s is not an IPv4 address", host);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    requests = calloc(total, sizeof *requests);
    struct stream **streams = calloc(count, sizeof *streams);
    struct epoll_event ready[READY];
    poller = epoll_create1(0);

    double used = cpu();
    int64_t began = now();
    int timer = starter(atol(argv[5]));
    while (finished < total) {
        int n = epoll_wait(poller, ready, READY, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr) {
                readable(ready[i].data.ptr);
                continue;
            }
            uint64_t ticks = 0;
            if (read(timer, &ticks, sizeof ticks) < 0) ticks = 0;
            for (; ticks && started < count; ticks--) start(streams[started++] = calloc(1, sizeof **streams));
            if (started == count) epoll_ctl(poller, EPOLL_CTL_DEL, timer, NULL);
        }
    }
    double seconds = (now() - began) / 1e9;
    printf("{\"cpu_seconds\":%.6f,\"seconds\":%.6f}\n", cpu() - used, seconds);
    write_rows(argv[7]);
    return 0;
}
