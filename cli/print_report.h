/* The report of an operation for people; the JSON is failover/report.h's. */
#ifndef FERRY_CLI_PRINT_REPORT_H
#define FERRY_CLI_PRINT_REPORT_H

#include <jansson.h>

void print_report(const json_t *report);

#endif
