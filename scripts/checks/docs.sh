# shellcheck shell=bash
# Group "docs" of scripts/check: what README and Documentation/ say works.

DOCS=$BUILD/docs

# command_lines FILE: the command lines in it, without their explanations. In
# a README these are indented lines that begin like a command and those that "&&"
# joins, in the pages the lines of "code-block:: sh".
command_lines() {
	if [[ $1 == *.rst ]]; then
		awk '/^\.\. code-block:: sh/ { on = 1; next } /^[^ ]/ { on = 0 } !on || !NF { next }
			{ sub(/^ +/, ""); line = line $0 }
			!sub(/\\$/, "", line) { print line; line = "" }' "$1"
	else
		sed ':join; /&&$/{ N; s/&&\n */\&\& /; b join; }' "$1" |
			grep -E '^  +(\./|[A-Z_]+=|(scripts/[a-z]+|git|make|cd|cat|quilt|b4)( |$))'
	fi | sed -E 's/^ +//; s/ +# .*//; s/   +.*//'
}

# gives STATUS WORDS COMMAND...: it ends with this status and these words.
gives() {
	local status=$1 words=$2 out rc
	shift 2
	out=$("$@" 2>&1 </dev/null)
	rc=$?
	printf '%s\n' "$* gives $rc:" "$out"
	[ "$rc" = "$status" ] && grep -qF -- "$words" <<<"$out"
}

# try COMMAND-LINE: does what it says, on small trees below DOCS. What takes long
# is only asked whether it knows the options: it is given a wrong last argument,
# and must complain of that and of nothing before it.
try() {
	local line=$1 args
	read -ra args <<<"${line#* }"
	[[ $line == *" "* ]] || args=()
	args=("${args[@]/#TREE/$DOCS/tree}")
	case $line in
	"scripts/apply --check TREE" | "scripts/apply TREE" | "scripts/apply "*"--stable TREE")
		git -C "$DOCS/tree" reset -q --hard unpatched &&
			(cd "$TOP" && scripts/apply "${args[@]}")
		;;
	"scripts/demo")
		gives 2 "--linux takes" "$TOP/scripts/demo" "${args[@]}" --linux none ;;
	"scripts/demo --tree TREE")
		gives 2 "exclude each other" "$TOP/scripts/demo" "${args[@]}" --linux 6.12
		;;
	"scripts/send" | "scripts/send "*) # for real in group mail
		gives 2 "--series takes" "$TOP/scripts/send" "${args[@]}" --series none
		;;
	"scripts/backport TREE -o DIR") # for real in group backport
		gives 1 "no such directory" "$TOP/scripts/backport" "$DOCS/none" "${args[@]:1}"
		;;
	"scripts/soak" | "scripts/soak "*) # for real in group soak
		gives 2 "MINUTES is a number" "$TOP/scripts/soak" "${args[@]}" none
		;;
	"scripts/check" | "scripts/check "* | "TARGETS=6.1 scripts/check "* | "PEERS="*" scripts/check "* | "MUTANTS="*" scripts/check "*)
		[[ $line == [A-Z]*=* ]] && args=("${args[@]:1}")
		gives 2 "no group 'none'" "$TOP/scripts/check" "${args[@]}" none
		;;
	"scripts/module" | "scripts/module "*) # for real in group module
		gives 2 "one of --install" "$TOP/scripts/module" "${args[@]}" --install --uninstall
		;;
	"QUILT_PATCHES=/path/to/patches QUILT_SERIES=/path/to/series quilt push -a")
		(cd "$DOCS/semaphore" && eval "${line//\/path\/to/$TOP}")
		;;
	"cat MAINTAINERS.snippet >>TREE/MAINTAINERS")
		(cd "$TOP" && eval "${line/TREE/$DOCS/tree}") &&
			git -C "$DOCS/tree" diff | grep '^+M:' && git -C "$DOCS/tree" checkout -q .
		;;
	"cd build/linux-own")
		grep 'own_tree .* linux-own$' "$TOP/scripts/send" # which group mail runs
		;;
	"b4 send") # group mail has it write, print and reflect mails
		gives 0 "usage: b4 send" b4 send --help
		;;
	"make -C Documentation/figures")
		(cd "$TOP" && make -n -B -C Documentation/figures)
		;;
	./tools/testing/kunit/kunit.py\ *) # for real in group kunit
		kunit_takes "$line"
		;;
	git\ *) # the backport: in their order, in one repository
		line=${line//\/path\/to/$TOP}
		(cd "$DOCS/stable" && GIT_EDITOR=true eval "${line//COMMIT/mainline}" </dev/null) &&
			if [[ $line == *--subject-prefix=* ]]; then backport_mail; fi
		;;
	*)
		echo "nothing in scripts/checks/docs.sh tries this line; add what does"
		return 1
		;;
	esac
}

# kunit_takes LINE: kunit.py configures a kernel by the options of LINE, which
# has the tests switched on then.
kunit_takes() {
	rm -rf "$DOCS/kunit"
	(cd "$TREE" && eval "${1/ run / config } --build_dir=$DOCS/kunit") &&
		grep -qx CONFIG_DM_SNAPSHOT_THROTTLE_KUNIT_TEST=y "$DOCS/kunit/.config" || return
	[[ $1 != *SMP* ]] || grep -qx CONFIG_SMP=y "$DOCS/kunit/.config"
}

# backport_mail: git format-patch's mail is as stable wants it.
backport_mail() {
	local mail
	mail=$(echo "$DOCS"/stable/0001-*.patch)
	cat "$mail"
	[ "$(sed -n '/^$/,$p' "$mail" | sed -n 2p)" = \
		"[ Upstream commit $(git -C "$DOCS/stable" rev-parse mainline) ]" ] &&
		grep -qx 'Subject: \[PATCH 6.1.y\] mainline.s fix' "$mail" &&
		grep -q '^To: stable@vger.kernel.org' "$mail" &&
		[ "$(grep -c '^Signed-off-by: ' "$mail")" = 2 ] && grep -q '^base-commit: ' "$mail"
}

# small_trees: what try() works on.
small_trees() {
	rm -rf "$DOCS"
	apply_list "$TREE" series.revert || return
	(small_tree "$DOCS/semaphore" HEAD) || return
	at "$TREE" base
	(small_tree "$DOCS/tree" base && git tag unpatched) || return
	(small_tree "$DOCS/stable" base && git checkout -q -b mainline &&
		edit . '$a /* fixed */' &&
		git commit -q --amend -m "mainline's fix" -m "It was broken." -m "Signed-off-by: M <m@localhost>" &&
		git checkout -q -b linux-6.1.y HEAD~1)
}

# mentioned FILE: all files of ours that it names are there.
mentioned() {
	local f rc=0
	while read -r f; do
		[ -e "$TOP/$f" ] || [ -e "$TREE/$f" ] || { echo "$1 names $f, which is not there"; rc=1; }
	done < <(grep -Eo '(^|[ `(])(scripts|kunit|patches|Documentation|figures)/[A-Za-z0-9_./-]*[A-Za-z0-9_]' "$1" |
		sed -E 's/^[ `(]//; s,^figures/,Documentation/figures/,' | sort -u)
	return "$rc"
}

# figures: made again, they are what is in git. The version of graphviz is not.
figures() {
	local f dir=$DOCS/figures
	mkdir -p "$dir" && cp "$TOP"/Documentation/figures/* "$dir" && cd "$dir" &&
		make -s -B all || return
	for f in *.svg; do
		diff <(grep -v '^<!-- Generated by' "$TOP/Documentation/figures/$f") \
			<(grep -v '^<!-- Generated by' "$f") >/dev/null ||
			{ echo "$f is not what its source gives; make -C Documentation/figures"; return 1; }
		grep -qF "figures/$f" "$TOP"/Documentation/*.rst || { echo "$f is in no page"; return 1; }
	done
	echo "$PWD: $(echo *.svg)"
}

# in_tree_page: the kernel's own page, as its makefile renders it.
in_tree_page() {
	local page=Documentation/output/admin-guide/device-mapper/snapshot.html out=$LOGS/htmldocs
	make -C "$TREE" htmldocs SPHINXDIRS=admin-guide/device-mapper >"$out" 2>&1 || { tail "$out"; return 1; }
	! grep -E 'snapshot\.rst.*(WARNING|ERROR)' "$out" &&
		grep -q 'snapshot_cow_threshold' "$TREE/$page" && cp "$TREE/$page" "$DOCS/"
}

group_docs() {
	local f line n=0 page
	local -x OWN_TREE=linux-test
	need git git-email libmailtools-perl b4 git-filter-repo graphviz make python3-docutils python3-sphinx python3-yaml quilt \
		gcc flex bison
	commits_as_check
	tree 6.12 && small_trees >"$LOGS/check-docs-trees.log" 2>&1 ||
		{ not_ok "docs: no trees: $LOGS/check-docs-trees.log"; return; }
	apply_list "$TREE" series.upstream >/dev/null
	for f in README Documentation/model/README Documentation/*.rst; do
		[[ $f == *README ]] || t "$f parses without a warning" "docs-rst-${f##*/}" \
			rst2html --halt=2 "$TOP/$f" "$DOCS/$(basename "$f" .rst).html"
		t "$f names files that are there" "docs-files-${f//\//-}" mentioned "$TOP/$f"
		while IFS= read -r line; do
			n=$((n + 1))
			t "$f: $line" "docs-$n" try "$line"
		done < <(cd "$TOP" && command_lines "$f")
	done
	t "figures are what their sources give" docs-figures figures
	t "make htmldocs: no warning for snapshot.rst" docs-html in_tree_page
	rm -rf "${BUILD:?}/$OWN_TREE"
	at "$TREE" base
}
