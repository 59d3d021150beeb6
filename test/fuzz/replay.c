/* replay.c - feed files, and the files of folders, to a fuzz target; for where there is
 * no libFuzzer, and for the ordinary test run. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define INPUT_MAX ((size_t)1 << 20)

static unsigned inputs;

static int replay_file(const char *path)
{
	uint8_t *buf = malloc(INPUT_MAX), *exact;
	FILE *f = fopen(path, "rb");

	if (f == NULL || buf == NULL) {
		perror(path);
		free(buf);
		return 1;
	}

	/* No larger than the input, so that a sanitizer sees a read past its end. */
	const size_t n = fread(buf, 1, INPUT_MAX, f);

	exact = realloc(buf, n > 0 ? n : 1);
	if (exact == NULL)
		exact = buf;
	fclose(f);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	inputs++;
	return 0;
}

static int replay(const char *path)
{
	struct stat st;
	struct dirent *e;
	char inside[4096];
	int bad = 0;
	DIR *d;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return replay_file(path);
	d = opendir(path);
	if (d == NULL) {
		perror(path);
		return 1;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(inside, sizeof inside, "%s/%s", path, e->d_name);
		bad |= replay_file(inside);
	}
	closedir(d);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0;

	for (int i = 1; i < argc; i++)
		bad |= replay(argv[i]);
	printf("%s: %u inputs replayed\n", argv[0], inputs);
	return bad || inputs == 0;
}
