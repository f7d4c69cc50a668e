#!/bin/sh
# As the public image: options alone are for redis-server, which listens to all.
[ "${1#-}" != "$1" ] && set -- redis-server "$@"
[ "$1" = redis-server ] && set -- "$@" --protected-mode no --bind '*'
exec "$@"
