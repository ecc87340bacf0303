// SPDX-License-Identifier: GPL-2.0
/*
 * The load of scripts/bench.
 *
 * load DEVICE WRITERS STRIDE COUNT SECONDS: WRITERS threads write to DEVICE
 * with O_DIRECT, 4 KiB at a time, one write for every STRIDE bytes, so that
 * each starts a copy of its own if that is the chunk's size. Together they
 * write COUNT times, or for SECONDS if that ends first; who is free takes the
 * next place.
 *
 * cached DEVICE COUNT: writes the first COUNT * 4 KiB through the page cache,
 * and all of that back with fsync().
 *
 * timed COMMAND...: runs COMMAND and prints the milliseconds that it took.
 *
 * The first two print a line of NAME=VALUE:
 *   cows seconds	writes that were done, and how long that took
 *   switches		context switches of the writers that were of their own
 *			will, that is, sleeps
 *   machine		all context switches of the machine meanwhile
 *   min p50 p99 p999 max	latency of a write in nanoseconds
 *   jobs		kcopyd's jobs at the most, looked at every 2 ms. Each copy
 *			in flight is one. Exact if kcopyd_job is a debugged slab
 *			(slub_debug=F,kcopyd_job), as that is never cached. What
 *			was there at the beginning, mempools, isn't counted.
 *   slab		bytes that the slab of these jobs took at the most, mempools
 *			and all
 *
 * The name it is called by decides. Exit status: 0; 1 if a write or a system
 * call failed, with the reason on standard error; 2 if called wrongly.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096
#define SLAB "/sys/kernel/slab/kcopyd_job/"

static const char *device;
static long stride, count;
static uint64_t deadline;
static uint64_t *latency;
static atomic_long next_place, done, switches, ended;
static pthread_barrier_t start;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* The first number in a file; 0 if there is no such file. */
static long number(const char *file, const char *after)
{
	static char text[65536];
	char *p = text;
	int fd = open(file, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	if (after) {
		p = strstr(text, after);
		p = p ? p + strlen(after) : "";
	}
	return atol(p);
}

static long sleeps(void)
{
	struct rusage usage;

	if (getrusage(RUSAGE_THREAD, &usage))
		fail("getrusage");
	return usage.ru_nvcsw;
}

static void *writer(void *arg)
{
	long place, before;
	uint64_t t;
	void *buf;
	int fd = open(device, O_WRONLY | O_DIRECT);

	if (fd < 0 || posix_memalign(&buf, BLOCK, BLOCK))
		fail(device);
	memset(buf, 'A', BLOCK);
	pthread_barrier_wait(&start);
	before = sleeps();
	while (now() < deadline && (place = atomic_fetch_add(&next_place, 1)) < count) {
		t = now();
		if (pwrite(fd, buf, BLOCK, place * stride) != BLOCK)
			fail(device);
		latency[atomic_fetch_add(&done, 1)] = now() - t;
	}
	atomic_fetch_add(&switches, sleeps() - before);
	atomic_fetch_add(&ended, 1);
	return arg;
}

static void *cached(void *arg)
{
	static char buf[256 * BLOCK];
	long before, left = count * BLOCK, n;
	int fd = open(device, O_WRONLY);

	if (fd < 0)
		fail(device);
	pthread_barrier_wait(&start);
	before = sleeps();
	for (; left; left -= n) {
		n = left < (long)sizeof(buf) ? left : (long)sizeof(buf);
		if (write(fd, buf, n) != n)
			fail(device);
	}
	if (fsync(fd))
		fail(device);
	atomic_store(&done, count);
	atomic_fetch_add(&switches, sleeps() - before);
	atomic_fetch_add(&ended, 1);
	return arg;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The latency that all but so many of 1000 writes are below or at. */
static unsigned long long but(long of_1000)
{
	long n = atomic_load(&done), above = n * of_1000 / 1000;

	return n ? latency[n - 1 - above] : 0;
}

static int measure(void *(*one)(void *), long writers)
{
	const struct timespec two_ms = { .tv_nsec = 2000000 };
	long i, jobs, before, machine, most_jobs = 0, slab, most_slab = 0;
	long slab_size = 4096L << number(SLAB "order", NULL);
	pthread_attr_t attr;
	pthread_t thread;
	uint64_t t;

	latency = calloc(count, sizeof(*latency));
	if (!latency || pthread_barrier_init(&start, NULL, writers + 1) ||
	    pthread_attr_init(&attr) || pthread_attr_setstacksize(&attr, 65536))
		fail("memory");
	for (i = 0; i < writers; i++)
		if ((errno = pthread_create(&thread, &attr, one, NULL)))
			fail("pthread_create");

	before = number(SLAB "objects", NULL);
	machine = number("/proc/stat", "\nctxt ");
	t = now();
	deadline += t;
	pthread_barrier_wait(&start);
	while (atomic_load(&ended) < writers) {
		jobs = number(SLAB "objects", NULL) - before;
		if (jobs > most_jobs)
			most_jobs = jobs;
		slab = number(SLAB "slabs", NULL) * slab_size;
		if (slab > most_slab)
			most_slab = slab;
		nanosleep(&two_ms, NULL);
	}
	t = now() - t;
	machine = number("/proc/stat", "\nctxt ") - machine;

	qsort(latency, atomic_load(&done), sizeof(*latency), by_size);
	printf("cows=%ld seconds=%.6f switches=%ld machine=%ld min=%llu p50=%llu p99=%llu p999=%llu max=%llu jobs=%ld slab=%ld\n",
	       atomic_load(&done), t / 1e9, atomic_load(&switches), machine,
	       (unsigned long long)latency[0], but(500), but(10), but(1), but(0), most_jobs, most_slab);
	return 0;
}

static int timed(char **command)
{
	uint64_t t = now();
	int status;

	switch (fork()) {
	case -1:
		fail("fork");
	case 0:
		execvp(command[0], command);
		fail(command[0]);
	}
	wait(&status);
	printf("%.3f\n", (now() - t) / 1e6);
	return status != 0;
}

int main(int argc, char **argv)
{
	const char *name = basename(argv[0]);

	device = argv[1];
	if (!strcmp(name, "load") && argc == 6) {
		stride = atol(argv[3]);
		count = atol(argv[4]);
		deadline = atol(argv[5]) * 1000000000ULL;
		return measure(writer, atol(argv[2]));
	}
	if (!strcmp(name, "cached") && argc == 3) {
		count = atol(argv[2]);
		return measure(cached, 1);
	}
	if (!strcmp(name, "timed") && argc > 1)
		return timed(argv + 1);
	fprintf(stderr, "usage: load DEVICE WRITERS STRIDE COUNT SECONDS\n"
		"       cached DEVICE COUNT\n       timed COMMAND...\n");
	return 2;
}
