/* why.h - every reason for a "no" and for an end, in one list.
 *
 * Pure. Log lines, HTTP replies, close frames, metrics and the tests all take a
 * reason's name, status and code from here. */

#ifndef WHY_H
#define WHY_H

/* HTTP: the status of the reply; 0 where the reason has none.
 * Close: the WebSocket close code (RFC 6455 7.4); 1006 is never sent, it stands in
 * the log where the connection ended without a close frame. */
#define WHY_LIST(W) \
	/*  name                text                   HTTP  close */ \
	W(OK,                  "ok",                   101, 1000) \
	W(MORE,                "more",                   0,    0) \
	/* the request, before its token is looked at */ \
	W(BAD_REQUEST,         "bad_request",          400, 1008) \
	W(HEAD_TOO_LARGE,      "head_too_large",       431, 1008) \
	W(HANDSHAKE_TIMEOUT,   "handshake_timeout",    408, 4401) \
	W(PENDING_FULL,        "pending_full",         503, 1013) \
	W(MESSAGE_TOO_LARGE,   "message_too_large",    413, 1009) \
	W(METHOD_NOT_ALLOWED,  "method_not_allowed",   405, 1008) \
	W(UPGRADE_REQUIRED,    "upgrade_required",     426, 1008) \
	W(NOT_FOUND,           "not_found",            404, 1008) \
	W(ORIGIN_DENIED,       "origin_denied",        403, 4403) \
	W(TOO_MANY_CLIENTS,    "too_many_clients",     503, 1013) \
	W(TLS_FAILED,          "tls_failed",             0, 1006) \
	/* the token, in the order of the checks */ \
	W(TOKEN_MISSING,       "token_missing",        401, 4401) \
	W(TOKEN_MALFORMED,     "token_malformed",      401, 4401) \
	W(ALG_NOT_ALLOWED,     "alg_not_allowed",      401, 4401) \
	W(KEY_UNKNOWN,         "key_unknown",          401, 4401) \
	W(SIGNATURE_INVALID,   "signature_invalid",    401, 4401) \
	W(EXP_MISSING,         "exp_missing",          401, 4401) \
	W(CLAIM_INVALID,       "claim_invalid",        401, 4401) \
	W(CLOCK_UNSET,         "clock_unset",          503, 1013) \
	W(TOKEN_EXPIRED,       "token_expired",        401, 4401) \
	W(TOKEN_NOT_YET_VALID, "token_not_yet_valid",  401, 4401) \
	W(TTL_TOO_LONG,        "ttl_too_long",         401, 4401) \
	W(ISSUER_MISMATCH,     "issuer_mismatch",      401, 4401) \
	W(AUDIENCE_MISMATCH,   "audience_mismatch",    401, 4401) \
	W(SUBJECT_DENIED,      "subject_denied",       403, 4403) \
	W(ISSUED_BEFORE_START, "issued_before_start",  401, 4401) \
	W(TOKEN_USED,          "token_used",           401, 4401) \
	W(RING_FULL,           "ring_full",            503, 1013) \
	/* a connection that was let in: what it may not have, and its end */ \
	W(RENEWAL_MISMATCH,    "renewal_mismatch",     401, 4401) \
	W(TOO_MANY_SUBSCRIPTIONS, "too_many_subscriptions", 0, 1008) \
	W(SESSION_ENDED,       "session_ended",          0, 4401) \
	W(SHUTDOWN,            "shutdown",             503, 1001) \
	W(TOO_SLOW,            "too_slow",               0, 1013) \
	W(PING_TIMEOUT,        "ping_timeout",           0, 1006) \
	W(PEER_CLOSED,         "peer_closed",            0, 1000) \
	W(PEER_GONE,           "peer_gone",              0, 1006) \
	W(READ_ONLY,           "read_only",              0, 1008) \
	W(WS_RSV,              "ws_reserved_bit",        0, 1002) \
	W(WS_UNMASKED,         "ws_unmasked",            0, 1002) \
	W(WS_OPCODE,           "ws_opcode",              0, 1002) \
	W(WS_CONTROL,          "ws_control_frame",       0, 1002) \
	W(WS_LENGTH,           "ws_length",              0, 1002) \
	W(WS_FRAGMENT,         "ws_fragmentation",       0, 1002) \
	W(WS_TYPE,             "ws_wrong_type",          0, 1003) \
	W(WS_CLOSE,            "ws_close_payload",       0, 1002) \
	W(WS_UTF8,             "ws_not_utf8",            0, 1007)

enum why {
#define WHY_ENUM(name, text, http, close) WHY_##name,
	WHY_LIST(WHY_ENUM)
#undef WHY_ENUM
	WHY_COUNT
};

const char *why_text(enum why why);
int why_http(enum why why);
int why_close(enum why why);

#endif
