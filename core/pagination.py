"""Page-number pagination in the shape of the REST dialect: count, next, previous, results."""

from rest_framework.pagination import PageNumberPagination


class PageNumber(PageNumberPagination):
    """Ten a page unless `page_size` (1-100) says otherwise; a bad size is the default, a bad page a 404."""

    page_size = 10
    page_size_query_param = "page_size"
    max_page_size = 100
