/* Breaks a pipe. plain: before a function of the library was called; loaded: after;
 * watched: the library's own, whose reader has gone, which must raise no signal. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "workflows.h"

static int watched(const char *config)
{
	static const unsigned char packed[16] = {1}; /* an empty request for operation 0 */
	uint64_t engine, channel;
	char *error;

	if (wf_open(config, strlen(config), &engine, &error) != WF_OK || wf_channel_open(engine, &channel) != WF_OK)
		return 5;
	close(wf_channel_fd(channel));
	if (wf_submit(channel, packed, sizeof packed) != WF_OK || wf_wait(channel, 10000) != WF_OK)
		return 6;
	return wf_close(engine, 0);
}

int main(int argc, char **argv)
{
	int ends[2];

	if (argc < 3 || pipe(ends) != 0)
		return 2;
	if (strcmp(argv[1], "watched") == 0)
		return watched(argv[2]);
	if (strcmp(argv[1], "loaded") == 0 && wf_cancel(1, 1) != WF_INVALID_HANDLE)
		return 3;
	close(ends[0]);
	if (write(ends[1], "x", 1) < 0)
		perror("write");
	return 4; /* the signal should have ended it */
}
