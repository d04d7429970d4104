#!/bin/sh
# Ends processes whose parent is gone. The parent writes "watch PID SIGNAL" and "forget PID" to our standard input. When
# it dies, even by SIGKILL, the kernel closes its end of the pipe, `read` meets the end of file, and what is still
# watched gets its signal, and SIGKILL if it is there five seconds later. PID leads a process group, and all of the
# group gets the signals.
#
# A shell and not Node: it needs a megabyte rather than forty, and is there before the first child is.

trap '' INT TERM HUP # Ctrl-C and a closing terminal are the parent's to handle.

watched=
while read -r verb pid signal; do
  case $verb in
    watch) watched="$watched $pid:$signal" ;;
    forget)
      rest=
      for entry in $watched; do
        [ "${entry%%:*}" = "$pid" ] || rest="$rest $entry"
      done
      watched=$rest
      ;;
  esac
done

for entry in $watched; do
  kill -s "${entry#*:}" -- "-${entry%%:*}" 2>/dev/null
done

tries=0
while [ $tries -lt 50 ]; do
  rest=
  for entry in $watched; do
    kill -0 -- "-${entry%%:*}" 2>/dev/null && rest="$rest $entry"
  done
  watched=$rest
  [ -z "$watched" ] && exit 0
  sleep 0.1
  tries=$((tries + 1))
done
for entry in $watched; do
  kill -s KILL -- "-${entry%%:*}" 2>/dev/null
done
