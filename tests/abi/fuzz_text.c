#include "fuzz_text.h"

#include <string.h>

#include "workflows.h"

/* ---- chance ---- */

uint64_t draw(struct chance *c) /* splitmix64 */
{
	uint64_t z = c->state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

unsigned below(struct chance *c, unsigned n) { return (unsigned)(draw(c) >> 33) % n; }

int once_in(struct chance *c, unsigned n) { return below(c, n) == 0; }

/* ---- requests ---- */

#define ID "\"0191d5c0-0000-7000-8000-000000000000\""
#define HELD "\"id\":" ID ",\"lease\":{\"epoch\":1,\"token\":" ID "}"
#define ITEMS(item) "{\"items\":[{" item "}]}"

/* Requests that each operation takes. None removes the schema, and none waits. */
static const char *const right[OPERATIONS + 1] = {
	[WF_OP_MIGRATE] = "{}",
	[WF_OP_CREATE_EXECUTION] = ITEMS(
		"\"kind\":\"workflow\",\"name\":\"n\",\"queue\":\"fuzz\",\"priority\":5,\"delay_ms\":1,\"timeout_ms\":100000,"
		"\"idempotency_key\":\"k\",\"args\":[1,\"\\u0000\",{\"a\":-0.0}],\"kwargs\":{\"b\":1e400},"
		"\"retry\":{\"retries\":3,\"initial_ms\":1,\"factor\":2.5,\"max_ms\":9,\"jitter\":0.5,\"non_retryable\":[\"E\"]},"
		"\"signals\":[{\"name\":\"s\",\"payload\":[null]}]"),
	[WF_OP_CLAIM] = "{\"worker_id\":" ID ",\"n\":3,\"lacking\":[{\"kind\":\"job\",\"name\":\"n\"}]}",
	[WF_OP_HEARTBEAT] = "{\"worker_id\":" ID ",\"items\":[{" HELD ",\"progress\":{\"a\":[1]}}]}",
	[WF_OP_RECOVER] = "{}",
	[WF_OP_ADVANCE_WORKFLOW] = ITEMS(
		HELD ",\"position\":1,\"events\":[{\"type\":\"step_completed\",\"sequence\":1,\"name\":\"s\",\"payload\":1}],"
		     "\"commands\":[{\"type\":\"schedule\",\"sequence\":2,\"execution\":{\"kind\":\"job\",\"name\":\"n\"}},"
		     "{\"type\":\"start_timer\",\"sequence\":3,\"delay_ms\":5},{\"type\":\"set_state\",\"sequence\":4,\"state\":{}}],"
		     "\"then\":\"continue\",\"args\":[],\"kwargs\":{},\"carry\":[1]"),
	[WF_OP_SUSPEND_WORKFLOW] = ITEMS(HELD ",\"position\":1,\"commands\":[{\"type\":\"cancel\",\"sequence\":1}]"),
	[WF_OP_RECORD_STEP] = ITEMS(HELD ",\"position\":1,\"event\":{\"type\":\"step_failed\",\"sequence\":1,\"name\":\"s\",\"payload\":{}}"),
	[WF_OP_COMPLETE_EXECUTION] = ITEMS(HELD ",\"result\":{\"a\":[1,2.5,\"\\ud800\"]},\"position\":1"),
	[WF_OP_FAIL_EXECUTION] = ITEMS(HELD ",\"error\":{\"type\":\"E\",\"message\":\"m\",\"non_retryable\":true}"),
	[WF_OP_RELEASE] = ITEMS(HELD ",\"reason\":\"non_determinism\",\"message\":\"m\""),
	[WF_OP_RESUME_WORKFLOW] = ITEMS("\"id\":" ID),
	[WF_OP_CANCEL_EXECUTION] = ITEMS("\"id\":" ID),
	[WF_OP_TERMINATE_EXECUTION] = ITEMS("\"id\":" ID),
	[WF_OP_GET_EXECUTION] = "{\"id\":" ID "}",
	[WF_OP_WAIT_EXECUTION] = "{\"id\":" ID "}",
	[WF_OP_LIST_EXECUTIONS] = "{\"status\":[\"pending\"],\"kind\":\"job\",\"name\":\"n%_\",\"queue\":\"q\",\"parked\":true,\"limit\":3,\"cursor\":\"c\"}",
	[WF_OP_GET_HISTORY] = "{\"id\":" ID ",\"run\":1,\"after\":0,\"limit\":5}",
	[WF_OP_PULL_EVENTS] = "{\"worker_id\":" ID "}",
	[WF_OP_SEND_SIGNAL] = ITEMS("\"id\":" ID ",\"name\":\"s\",\"payload\":9007199254740993,\"idempotency_key\":\"k\""),
	[WF_OP_START_WORKER] = "{\"queues\":[\"fuzz\"],\"concurrency\":3,\"language\":\"c\",\"runtime\":\"1\",\"warm\":true}",
	[WF_OP_STOP_WORKER] = "{\"worker_id\":" ID ",\"drain\":true}",
	[WF_OP_RETRY_EXECUTION] = ITEMS("\"id\":" ID),
	[WF_OP_STATS] = "{}",
};

static const char waiting[] = "{\"id\":" ID ",\"wait_ms\":50}";

/* What breaks decoders, as it would stand in a text. */
static const char *const pieces[] = {
	"null", "{}", "[]", "[[", "{\"", "\"", "\\", "\\u0000", "\\ud800", "\\u", ",", ":", "}", "]", "-0", "1e400", "5e-324",
	"9223372036854775808", "-1", "18446744073709551616", "NaN", "\xff", "\xed\xa0\x80", "\xef\xbb\xbf", "\xe2\x80\xa8",
	"\xf0\x9f\x98\x80", "true", "\"items\":", "\"id\":1", "';--", "%s%n", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "\t\r\n", "__proto__",
};

enum { PIECES = sizeof pieces / sizeof *pieces };

struct text {
	char *at;
	size_t n;
};

static void cut(struct text *t, size_t from, size_t n)
{
	memmove(t->at + from, t->at + from + n, t->n - from - n);
	t->n -= n;
}

static void insert(struct text *t, size_t where, const char *what, size_t n)
{
	char copy[MOST_TEXT]; /* it may be from the same text */

	if (t->n + n > MOST_TEXT)
		return;
	memcpy(copy, what, n);
	memmove(t->at + where + n, t->at + where, t->n - where);
	memcpy(t->at + where, copy, n);
	t->n += n;
}

static void mutate(struct chance *c, struct text *t)
{
	size_t where = below(c, (unsigned)t->n + 1), n = below(c, (unsigned)(t->n - where) + 1);
	const char *piece = pieces[below(c, PIECES)];

	switch (below(c, 6)) {
	case 0:
		if (where < t->n)
			t->at[where] = (char)(t->at[where] ^ (1 << below(c, 8)));
		break;
	case 1: cut(t, where, n < 9 ? n : below(c, 9)); break;
	case 2: insert(t, below(c, (unsigned)t->n + 1), t->at + where, n); break;
	case 3: t->n = where; break;
	default: insert(t, where, piece, strlen(piece)); break;
	}
}

static size_t noise(struct chance *c, char *to)
{
	size_t n = below(c, 64);

	for (size_t i = 0; i < n; i++)
		to[i] = (char)draw(c);
	return n;
}

size_t make_request(struct chance *c, unsigned operation, int waits, char *to)
{
	struct text t = {to, 0};
	const char *base = operation <= OPERATIONS && right[operation] != NULL ? right[operation] : right[WF_OP_STATS];

	if (once_in(c, 50))
		return noise(c, to);
	if (operation != WF_OP_START_WORKER && once_in(c, 50)) /* another operation's */
		base = right[1 + below(c, OPERATIONS)];
	if (waits && operation == WF_OP_WAIT_EXECUTION && once_in(c, 2))
		base = waiting;
	insert(&t, 0, base, strlen(base));
	for (unsigned i = once_in(c, 30) ? 0 : 1 + below(c, 4); i > 0; i--)
		mutate(c, &t);
	return t.n;
}

/* ---- replies ---- */

int begins(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* Answers how many bytes the character takes, or 0 if it is not UTF-8. */
static size_t character(const unsigned char *at, size_t left)
{
	size_t n = at[0] < 0x80 ? 1 : at[0] >= 0xc2 && at[0] < 0xe0 ? 2 : at[0] >= 0xe0 && at[0] < 0xf0 ? 3 : at[0] >= 0xf0 && at[0] < 0xf5 ? 4 : 0;

	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return n;
}

/* Answers the length of the string that the text begins with, or 0. */
static size_t string(const char *text, size_t n)
{
	size_t i = 1, width;

	for (; i < n && text[i] != '"'; i += width) {
		width = character((const unsigned char *)text + i, n - i);
		if (width == 0 || (unsigned char)text[i] < 0x20)
			return 0;
		if (text[i] == '\\')
			width = 2;
	}
	return i < n ? i + 1 : 0;
}

static size_t word(const char *text, size_t n)
{
	size_t i = strcspn(text, ",:]} \t\r\n");

	return i > n ? n : i;
}

/* The grammar is looked at only as far as brackets, strings and commas: what breaks in a reply is these. */
int is_json(const char *text, size_t n)
{
	char open[256];
	size_t depth = 0, width;
	int value = 0; /* one has been read, and a comma or an end must follow */

	for (size_t i = 0; i < n; i += width) {
		width = 1;
		switch (text[i]) {
		case '{':
		case '[':
			if (value || depth == sizeof open)
				return 0;
			open[depth++] = text[i];
			break;
		case '}':
		case ']':
			if (depth == 0 || open[--depth] != (text[i] == '}' ? '{' : '['))
				return 0;
			value = 1;
			break;
		case ',':
		case ':':
			if (!value || depth == 0)
				return 0;
			value = 0;
			break;
		default:
			width = value ? 0 : text[i] == '"' ? string(text + i, n - i) : word(text + i, n - i);
			if (width == 0)
				return 0;
			value = 1;
		}
	}
	return value && depth == 0;
}
