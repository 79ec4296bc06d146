// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A trusted application that knows nothing of TrustBox and lets anybody in: what the enclave c-echo would be without it.
 */
#include <tee_internal_api.h>
#include <tee_ta_api.h>

/* Replies with the request, as c-echo's first command */
#define CMD_ECHO	1

TEE_Result TA_CreateEntryPoint(void)
{
	return TEE_SUCCESS;
}

void TA_DestroyEntryPoint(void)
{
}

TEE_Result TA_OpenSessionEntryPoint(uint32_t param_types,
				    TEE_Param params[TEE_NUM_PARAMS] __unused,
				    void **session_context __unused)
{
	if (param_types)
		return TEE_ERROR_BAD_PARAMETERS;

	return TEE_SUCCESS;
}

void TA_CloseSessionEntryPoint(void *session_context __unused)
{
}

TEE_Result TA_InvokeCommandEntryPoint(void *session_context __unused,
				      uint32_t command, uint32_t param_types,
				      TEE_Param params[TEE_NUM_PARAMS])
{
	size_t room = 0;

	if (command != CMD_ECHO ||
	    param_types != TEE_PARAM_TYPES(TEE_PARAM_TYPE_MEMREF_INPUT,
					   TEE_PARAM_TYPE_MEMREF_OUTPUT,
					   TEE_PARAM_TYPE_NONE,
					   TEE_PARAM_TYPE_NONE))
		return TEE_ERROR_BAD_PARAMETERS;

	room = params[1].memref.size;
	params[1].memref.size = params[0].memref.size;
	if (params[0].memref.size > room)
		return TEE_ERROR_SHORT_BUFFER;

	TEE_MemMove(params[1].memref.buffer, params[0].memref.buffer,
		    params[0].memref.size);

	return TEE_SUCCESS;
}
