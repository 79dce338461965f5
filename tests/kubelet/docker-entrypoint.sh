#!/bin/sh
# What that of the image `postgres` does: make the cluster once, run the scripts, then the server.
set -eu
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    mkdir -p "$PGDATA"
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb --username postgres --pwfile /tmp/password --auth-host scram-sha-256 --encoding UTF8 --no-sync
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl start --wait --options "-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql"
    for script in /docker-entrypoint-initdb.d/*.sql; do
        psql --host /var/run/postgresql --username postgres --set ON_ERROR_STOP=1 --no-password --file "$script"
    done
    pg_ctl stop --wait --mode fast
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
