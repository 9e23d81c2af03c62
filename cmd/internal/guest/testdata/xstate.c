/*
 * A ptrace(2) for user-mode-linux 6.1 on processors with AMX.
 *
 * That kernel keeps 2,696 octets of the extended registers of a process, which is what
 * there was up to AVX-512. Where the processor has more, it can read them, but Linux takes nothing back
 * that is not whole (EFAULT), and the guest's first process dies. So the rest is
 * added from what the process has just now: nobody in the guest uses it.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* On no stack: those of that kernel are small. It has one thread. */
static char whole[1 << 16];

long ptrace(enum __ptrace_request request, ...)
{
	va_list args;
	va_start(args, request);
	pid_t pid = va_arg(args, pid_t);
	void *addr = va_arg(args, void *);
	void *data = va_arg(args, void *);
	va_end(args);

	long word = 0, result;
	int peeks = request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER;
	struct iovec all = {whole, sizeof whole};
	if (request == PTRACE_SETREGSET && addr == (void *)NT_X86_XSTATE) {
		struct iovec *part = data;
		if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, addr, &all) == 0 && part->iov_len < all.iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			data = &all;
		}
	}
	/* The call stores what it peeks, and libc returns it. */
	result = syscall(SYS_ptrace, request, pid, addr, peeks ? &word : data);
	if (!peeks || result < 0)
		return result;
	errno = 0;
	return word;
}
