# shellcheck shell=bash
# Group "mail" of scripts/check: the mails that scripts/send makes, and back.

ME=check@localhost

# send_offline ARG...: scripts/send as ME, with no way out, should b4 look for one,
# but a sendmail that notes whom it is asked to deliver to.
send_offline() {
	local d=$BUILD/sendmail
	(cd "$TOP" && http_proxy=http://127.0.0.1:9 https_proxy=http://127.0.0.1:9 \
		GIT_CONFIG_COUNT=3 GIT_CONFIG_KEY_0=sendemail.smtpserver \
		GIT_CONFIG_VALUE_0=$d/sendmail GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=$ME \
		GIT_CONFIG_KEY_2=user.name GIT_CONFIG_VALUE_2=check scripts/send "$@")
}

no_sendmail() {
	local d=$BUILD/sendmail
	rm -rf "$d" && mkdir -p "$d" || return
	printf '#!/bin/sh\necho "$@" >>"%s/args"; cat >/dev/null\n' "$d" >"$d/sendmail"
	chmod +x "$d/sendmail"
}

# as_mbox DIR: its mails in one file, as b4 am -m - takes them. (With -m FILE, b4
# 0.12 fails on subjects that are longer than a line.)
as_mbox() {
	local f
	for f in "$1"/*.eml; do
		printf 'From mboxrd@z Thu Jan  1 00:00:00 1970\n'
		sed 's/^>*From />&/' "$f"
		echo
	done
}

# round_trip SERIES LIST: mails of SERIES through b4 am and git am end in the
# tree that LIST gives.
round_trip() {
	local series=$1 list=$2 dir=$BUILD/mails-$1 am=$BUILD/mails-$1.am base want got
	send_offline --series "$series" || return
	base=$(sed -n 's/^base-commit: //p' "$dir"/0000-*.eml)
	at "$TREE" "$base" && apply_list "$TREE" "$list" || return
	want=$(git -C "$TREE" rev-parse 'HEAD^{tree}')
	at "$TREE" "$base" && rm -rf "$am" && mkdir "$am" && as_mbox "$dir" >"$am/mbox" &&
		(cd "$TREE" && b4 --offline-mode am -m - -o "$am" -n series <"$am/mbox") &&
		git -C "$TREE" am "$am/series.mbx" || return
	got=$(git -C "$TREE" rev-parse 'HEAD^{tree}')
	printf '%-28s %s\n' "git am of $list" "$want" "b4 send, b4 am, git am" "$got" |
		tee "$LOGS/check-hashes-$series.log"
	[ "$got" = "$want" ]
}

# recipients MAIL: one address a line.
recipients() {
	sed '/^$/q' "$1" | awk '/^[^ ]/ { on = /^(To|Cc):/ } on' |
		grep -Eo '[^ <>,]+@[^ <>,]+' | sort -u
}

# addressed SERIES LIST: every mail goes to dm-devel and the device-mapper's
# maintainers; to stable, those patches that say so, and the cover letter.
addressed() {
	local dir=$BUILD/mails-$1 list=$2 who want got p mail n=0
	at "$TREE" base
	who=$(sed -n '/^DEVICE-MAPPER  (LVM)/,/^$/s/^M:.*<\(.*\)>.*/\1/p' "$TREE/MAINTAINERS")
	[ -n "$who" ] || { echo "MAINTAINERS names nobody"; return 1; }
	for mail in "$dir"/*.eml; do
		for want in dm-devel@lists.linux.dev $who; do
			recipients "$mail" | grep -qxF "$want" ||
				{ echo "$mail does not go to $want"; return 1; }
		done
	done
	recipients "$dir"/0000-*.eml | grep -qxF stable@vger.kernel.org ||
		{ echo "stable doesn't get the cover letter"; return 1; }
	while read -r p; do
		n=$((n + 1))
		mail=$(printf '%s/%04d-' "$dir" "$n")
		want=$(grep -c '^Cc: stable@vger.kernel.org' "$TOP/patches/$p")
		got=$(recipients "$mail"*.eml | grep -cxF stable@vger.kernel.org)
		echo "$p: stable $got"
		[ "$want" = "$got" ] || { echo "the patch says $want"; return 1; }
	done < <(patches_of "$list")
	[ "$(find "$dir" -name '*.eml' | wc -l)" = $((n + 1)) ] || { echo "not $n and one mails"; return 1; }
}

# cover SERIES: the first mail has the text of the cover letter as it stands in
# patches/, up to the changelog, and names its base.
cover() {
	local mail cover=$TOP/patches/cover-letter
	[ "$1" = upstream ] && cover=$TOP/patches/upstream/cover-letter
	mail=$(echo "$BUILD/mails-$1"/0000-*.eml)
	! grep -n EDITME "$mail" || return
	diff <(sed -e 1,2d -e '/^# /d' -e '/^$/d' -e '/^---$/,$d' "$cover") \
		<(sed '1,/^$/d' "$mail" | sed -e '/^$/d' -e '/^---$/,$d') &&
		git -C "$TREE" cat-file -e "$(sed -n 's/^base-commit: //p' "$mail")^{commit}" &&
		grep -qxF "change-id: $(sed -n 's/^# change-id: //p' "$cover")" "$mail"
}

# reflects: --reflect hands every mail to sendmail for ourselves and nobody else.
# --dry-run hands it none, nor did the default, see send_offline(). All of that
# with a tree of one's own, as much of one as get_maintainer.pl takes for Linux.
reflects() {
	local d=$BUILD/sendmail own=$BUILD/small/whole n rc=0 before
	n=$(($(patches_of series.upstream | wc -l) + 1))
	(commits_as_check && small_tree "$own" base COPYING CREDITS Makefile README arch/Kconfig fs/Kconfig \
		init/Kconfig ipc/Makefile kernel/Makefile lib/Kconfig scripts/get_maintainer.pl) || return
	before=$(fingerprint "$own")
	send_offline --dry-run "$own" >"$d/dry-run" 2>&1 || rc=1
	[ "$(grep -c '| Subject: ' "$d/dry-run")" = "$n" ] ||
		{ echo "--dry-run didn't print $n mails: $d/dry-run"; rc=1; }
	grep -F "base-commit: $(git -C "$own" rev-parse HEAD)" "$d/dry-run" || rc=1
	[ ! -e "$d/args" ] || { echo "mails were sent: $(cat "$d/args")"; rc=1; }
	echo | send_offline --reflect "$own" || rc=1
	cat "$d/args"
	[ "$(wc -l <"$d/args")" = "$n" ] || rc=1
	! grep -Eo '[^ ]+@[^ ]+' "$d/args" | grep -vxF "$ME" || rc=1
	[ "$before" = "$(fingerprint "$own")" ] || { echo "the tree was changed"; rc=1; }
	return "$rc"
}

# maintainers: get_maintainer.pl takes the snippet at the end of MAINTAINERS: it
# has nothing to complain about, and names it for each file that it claims.
maintainers() (
	snippet=$TOP/MAINTAINERS.snippet
	at "$TREE" base && apply_list "$TREE" series.upstream >/dev/null && cd "$TREE" || exit
	scripts/get_maintainer.pl --self-test=sections >"$LOGS/complaints" 2>&1
	cat "$snippet" >>MAINTAINERS
	scripts/get_maintainer.pl --self-test=sections 2>&1 | diff "$LOGS/complaints" - || exit
	entry=$(sed -n '/^[A-Z]/{p;q}' "$snippet")
	sed -n 's/^F:	//p' "$snippet" | while read -r f; do
		[ -f "$f" ] || { echo "$f is not there"; exit 1; }
		scripts/get_maintainer.pl --nogit --nogit-fallback -f "$f" |
			grep -F "(maintainer:$entry" || { echo "nobody is named for $f"; exit 1; }
	done
)

send_tests() {
	local s=$BUILD/small
	local -x TOOL=$TOP/scripts/send
	commits_as_check
	rm -rf "$s"
	at "$TREE" base
	small_tree "$s/upstream" base
	t "send: refuses what isn't there" send-missing refuses "no such directory" "$s/nowhere"
	mkdir "$s/plain"
	GIT_CEILING_DIRECTORIES=$s t "send: refuses what is no git tree" send-nogit \
		refuses "is not a git tree" "$s/plain"
	t "send: refuses a series that doesn't fit" send-unfit \
		refuses "needs --series upstream" "$s/upstream" --series semaphore
	t "send: refuses a tree that can't name its maintainers" send-nomaintainers \
		refuses "get_maintainer.pl" "$s/upstream"
	edit "$s/upstream" '/in_progress/d'
	t "send: refuses a tree with nothing to fix" send-none refuses "no series is for" "$s/upstream"
}

group_mail() {
	local series list
	local -x OWN_TREE=linux-test
	need b4 git git-filter-repo perl
	tree 6.12 || { not_ok "mail: no tree"; return; }
	no_sendmail
	for series in upstream semaphore; do
		list=series.upstream
		[ "$series" = semaphore ] && list=series
		t "$series: mails, b4 am and git am end in the tree of $list" "mail-$series" \
			round_trip "$series" "$list"
		sed 's/^/        /' "$LOGS/check-hashes-$series.log"
		t "$series: the cover letter is whole" "mail-cover-$series" cover "$series"
		t "$series: to dm-devel, the maintainers, and stable where a patch says so" \
			"mail-to-$series" addressed "$series" "$list"
	done
	t "--dry-run and the default send nothing, --reflect only to oneself" mail-reflect reflects
	t "get_maintainer.pl takes MAINTAINERS.snippet" mail-maintainers maintainers
	send_tests
	rm -rf "${BUILD:?}/$OWN_TREE"
	at "$TREE" base
}
