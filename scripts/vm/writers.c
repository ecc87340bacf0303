// SPDX-License-Identifier: GPL-2.0
/*
 * writers DEVICE COUNT [FIRST]: COUNT processes, each of which writes one
 * chunk of 8 sectors to DEVICE with O_DIRECT, the nth to chunk FIRST + n; all
 * at once, when the last of them is there.
 *
 * spin CPU PID...: a SCHED_FIFO busy loop, bound to CPU, until killed. It runs in
 * user mode, so that RCU sees the CPU pass through quiescent states. The PIDs are
 * that CPU's kernel threads which get the better priority: a busy ksoftirqd that
 * can't run keeps softirqs, RCU's among them, off the CPU (up to 6.4 or so), and on
 * PREEMPT_RT no grace period ends without rcuc.
 *
 * fifo COMMAND...: runs COMMAND at SCHED_FIFO's lowest priority. Since 6.12 a
 * busy loop doesn't keep ordinary tasks off a CPU for more than a second (the
 * "fair server"); it does so with one like this.
 *
 * idle COMMAND...: runs COMMAND at SCHED_IDLE. Whatever it wakes on its CPU runs
 * before it goes on.
 *
 * states COMMAND: of each process of this name, prints its number, its state (one
 * letter), and how often it has slept. A shell that looks at hundreds of processes
 * takes longer than they do.
 *
 * The name it is called by decides. Exit status: 0; 1 if a write or a system
 * call failed, with the reason on standard error; 2 if called wrongly.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK 4096

static pthread_barrier_t *start;

static int fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return 1;
}

static int share(int writers)
{
	pthread_barrierattr_t attr;

	start = mmap(NULL, sizeof(*start), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return start == MAP_FAILED || pthread_barrierattr_init(&attr) ||
	       pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED) ||
	       pthread_barrier_init(start, &attr, writers);
}

static int write_chunk(const char *device, long chunk)
{
	static _Alignas(CHUNK) char buf[CHUNK];
	int fd;

	fd = open(device, O_WRONLY | O_DIRECT);
	memset(buf, 'A' + chunk % 26, CHUNK);
	pthread_barrier_wait(start);	/* also if that failed */
	if (pwrite(fd, buf, CHUNK, chunk * CHUNK) != CHUNK)
		return fail(device);
	return 0;
}

static int run_as(int policy, int priority, char **command)
{
	struct sched_param param = { .sched_priority = priority };

	if (!sched_setscheduler(0, policy, &param))
		execvp(command[0], command);
	return fail(command[0]);
}

static int spin(int cpu, char **pids)
{
	struct sched_param param = { .sched_priority = 50 };
	struct sched_param better = { .sched_priority = 51 };
	cpu_set_t set;

	for (; *pids; pids++)
		if (sched_setscheduler(atoi(*pids), SCHED_FIFO, &better))
			return fail("spin");
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) ||
	    sched_setscheduler(0, SCHED_FIFO, &param))
		return fail("spin");
	for (;;)
		;
}

static bool read_proc(const char *pid, const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, file);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0;
}

static int states(const char *command)
{
	const char *state, *sleeps;
	struct dirent *entry;
	char buf[4096];
	DIR *dir = opendir("/proc");

	while (dir && (entry = readdir(dir))) {
		const char *pid = entry->d_name;

		if (*pid < '0' || *pid > '9' || !read_proc(pid, "comm", buf, sizeof(buf)))
			continue;
		buf[strcspn(buf, "\n")] = 0;
		if (strcmp(buf, command) || !read_proc(pid, "status", buf, sizeof(buf)))
			continue;
		state = strstr(buf, "\nState:\t");
		sleeps = strstr(buf, "\nvoluntary_ctxt_switches:\t");
		if (state && sleeps)
			printf("%s %c %ld\n", pid, state[8], atol(strchr(sleeps, '\t')));
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *name = basename(argv[0]);
	long first = argc > 3 ? atol(argv[3]) : 0;
	int i, count, status, rc = 0;

	if (!strcmp(name, "spin") && argc > 2)
		return spin(atoi(argv[1]), argv + 2);
	if (!strcmp(name, "fifo") && argc > 1)
		return run_as(SCHED_FIFO, 1, argv + 1);
	if (!strcmp(name, "states") && argc == 2)
		return states(argv[1]);
	if (!strcmp(name, "idle") && argc > 1)
		return run_as(SCHED_IDLE, 0, argv + 1);
	if (argc < 3 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: %s DEVICE COUNT [FIRST]\n", name);
		return 2;
	}
	count = atoi(argv[2]);
	if (share(count))
		return fail("shared memory");
	for (i = 0; i < count; i++) {
		switch (fork()) {
		case -1:
			return fail("fork");
		case 0:
			_exit(write_chunk(argv[1], first + i));
		}
	}
	while (wait(&status) > 0)
		if (status)
			rc = 1;
	return rc;
}
