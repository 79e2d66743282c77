-- Whatever PostgreSQL or the library has that an unqualified name may mean, in another schema:
-- each fails with a word about it when it is used.
CREATE SCHEMA evil;
CREATE FUNCTION evil.caught() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
CREATE FUNCTION evil.json_build_object(VARIADIC pg_catalog.text[]) RETURNS pg_catalog.json LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
DO $do$
DECLARE f record;
BEGIN
    FOR f IN SELECT format('CREATE FUNCTION evil.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''hijacked''; END $$',
            proname, pg_get_function_identity_arguments(oid), pg_get_function_result(oid)) AS sql
        FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND pg_get_function_identity_arguments(oid) NOT LIKE '%"any"%' AND proname = ANY (ARRAY[
            'now', 'clock_timestamp', 'random', 'power', 'json_build_object', 'set_config', 'current_setting', 'pg_notify', 'unnest',
            'array_position', 'cardinality', 'json_array_elements_text', 'jsonb_array_elements_text', 'hashtextextended', 'pg_try_advisory_xact_lock',
            'pg_has_role', 'has_schema_privilege', 'pg_get_userbyid', 'quote_ident', 'regexp_replace', 'pg_backend_pid', 'format', 'round', 'abs'])
    LOOP EXECUTE f.sql; END LOOP;
    FOR f IN SELECT format('CREATE FUNCTION evil.op%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION ''hijacked''; END $$;
            CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = evil.op%s)',
            oid, oprleft::regtype, oprright::regtype, oprresult::regtype, oprname, oprleft::regtype, oprright::regtype, oid) AS sql
        FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprkind = 'b' AND oprcode <> 0
            AND oprname IN ('=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '||', '->', '->>', '&&', '~')
            AND oprleft = ANY (ARRAY['uuid', 'text', 'int4', 'int8', 'int2', 'timestamptz', 'interval', 'bool', 'name', 'json', 'float8', 'oid', 'anyarray']::regtype[])
    LOOP EXECUTE f.sql; END LOOP;
    FOR f IN SELECT format('CREATE DOMAIN evil.%I AS pg_catalog.%I CHECK (evil.caught())', t, t) AS sql
        FROM unnest(ARRAY['text', 'uuid', 'json', 'timestamptz', 'float8', 'int4', 'int8', 'bool', 'name', 'regclass']) AS t
    LOOP EXECUTE f.sql; END LOOP;
    FOR f IN SELECT format('CREATE VIEW evil.%I AS SELECT evil.caught()', t) AS sql FROM unnest(ARRAY[
        'executions', 'history', 'timers', 'workers', 'schema_migrations', 'pg_class', 'pg_namespace', 'pg_roles', 'pg_prepared_statements']) AS t
    LOOP EXECUTE f.sql; END LOOP;
END $do$;
GRANT USAGE ON SCHEMA evil TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA evil TO PUBLIC;
